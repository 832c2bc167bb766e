module replicacount.dev/tools/chart

go 1.21
