OTHERS = []
