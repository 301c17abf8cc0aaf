//! Answers for people: JSON over several lines, or lists of objects as tables.

use std::io::Write;

use serde_json::{Map, Value};

/// Prints an answer, its lists as tables where that is wanted and possible.
pub(super) fn print(value: &Value, as_tables: bool) {
    let text = if as_tables { table(value) } else { None };
    print_line(&text.unwrap_or_else(|| format!("{value:#}")));
}

/// Prints a line. That nobody reads it (`| head`) is no reason to complain.
pub(super) fn print_line(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end());
}

/// A list of objects with a line for each, or an object with a line for each field. `None` for other values.
fn table(value: &Value) -> Option<String> {
    let rows: Vec<Vec<String>> = match value {
        Value::Object(fields) => fields.iter().map(|(key, value)| vec![key.clone(), cell(value)]).collect(),
        Value::Array(elements) => {
            let objects: Vec<&Map<String, Value>> = elements.iter().map(Value::as_object).collect::<Option<_>>()?;
            let mut columns: Vec<&String> = Vec::new();
            for key in objects.iter().flat_map(|object| object.keys()) {
                if !columns.contains(&key) {
                    columns.push(key);
                }
            }
            let heading = columns.iter().map(|column| column.to_uppercase()).collect();
            let cells = |object: &&Map<String, Value>| {
                columns.iter().map(|column| object.get(*column).map(cell).unwrap_or_default()).collect()
            };
            std::iter::once(heading).chain(objects.iter().map(cells)).collect()
        }
        _ => return None,
    };
    Some(aligned(&rows))
}

/// A value in a line: lists and objects within are counted, or spelt out where they are short.
fn cell(value: &Value) -> String {
    const SHORT: usize = 40;
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(elements) => {
            let names: Vec<&str> = elements.iter().filter_map(name_of).collect();
            let text = names.join(",");
            if names.len() == elements.len() && text.len() <= SHORT { text } else { format!("({})", elements.len()) }
        }
        Value::Object(fields) => {
            let text = fields.iter().map(|(key, value)| format!("{key}={}", cell(value))).collect::<Vec<_>>().join(",");
            if text.len() <= SHORT { text } else { format!("({})", fields.len()) }
        }
        other => other.to_string(),
    }
}

/// What an element of a list is called.
fn name_of(element: &Value) -> Option<&str> {
    let name = |key| element.get(key).and_then(Value::as_str);
    element.as_str().or_else(|| name("inst_name")).or_else(|| name("name")).or_else(|| name("regex"))
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_of_objects_is_a_table_with_every_field() {
        let producers = json!([
            {"name": "n1", "port": 411, "sets": [{"inst_name": "n1/meminfo"}, {"inst_name": "n1/vmstat"}]},
            {"name": "node-2", "sets": [], "state": "STOPPED"},
        ]);
        let expected = "\
NAME    PORT  SETS                  STATE
n1      411   n1/meminfo,n1/vmstat
node-2                              STOPPED";
        assert_eq!(table(&producers).as_deref(), Some(expected));
        let many = json!([{"sets": vec![json!({"inst_name": "a-rather-long-name"}); 9]}]);
        assert_eq!(table(&many).as_deref(), Some("SETS\n(9)"));
    }

    #[test]
    fn an_object_is_a_table_of_its_fields() {
        assert_eq!(table(&json!({"state": "ready", "n": 1})).as_deref(), Some("state  ready\nn      1"));
        assert_eq!(table(&json!(["no", "objects"])), None);
    }
}
