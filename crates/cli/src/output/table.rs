//! Tables as kubectl prints them: columns of the width of their longest cell, three spaces between them.

use super::colour;

/// Between two columns.
const GAP: usize = 3;

/// A table, row by row.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    /// The column whose words have colours.
    painted: Option<usize>,
}

impl Table {
    /// A table with these headers. None: a table without headers.
    pub fn new(headers: Option<&[&str]>) -> Self {
        let headers = headers.map(|headers| headers.iter().map(|&header| header.to_owned()).collect());
        Self { rows: headers.into_iter().collect(), painted: None }
    }

    /// Shows the words of a column in their colours, if standard output can.
    #[must_use]
    pub fn painted(self, column: usize) -> Self {
        Self { painted: colour::is_wanted().then_some(column), ..self }
    }

    /// Adds a row.
    pub fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// The lines, each with its line feed.
    pub fn render(&self) -> String {
        let mut widths = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                match self.painted {
                    Some(painted) if painted == column => text.push_str(&colour::paint(cell)),
                    Some(_) | None => text.push_str(cell),
                }
                if column + 1 < row.len() {
                    let padding = widths[column] - cell.chars().count() + GAP;
                    text.extend(std::iter::repeat_n(' ', padding));
                }
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let mut table = Table::new(Some(&["NAME", "COUNT"]));
        table.push(vec!["web".to_owned(), "3".to_owned()]);
        table.push(vec!["longer".to_owned(), "10".to_owned()]);
        assert_eq!(table.render(), "NAME     COUNT\nweb      3\nlonger   10\n");
    }
}
