// The line protocol of `slipway-mls client` (tools/mls/README.md) for clients written in Rust: one JSON request a line on
// standard input, one answer a line on standard output; byte strings are hex.
use serde_json::{json, Value};
use std::fmt::Debug;
use std::io::{BufRead, Write};

pub type Answer = Result<Value, String>;

/// What went wrong, as text.
pub fn text<E: Debug>(error: E) -> String {
    format!("{error:?}")
}

pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn from_hex(text: &str) -> Result<Vec<u8>, String> {
    if text.len() % 2 != 0 || !text.is_ascii() {
        return Err("not hex".into());
    }
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| "not hex".to_string()))
        .collect()
}

pub struct Request(pub Value);

impl Request {
    pub fn has(&self, field: &str) -> bool {
        self.0.get(field).is_some_and(|value| !value.is_null())
    }
    pub fn string(&self, field: &str) -> Result<&str, String> {
        self.0[field].as_str().ok_or(format!("{field} must be text"))
    }
    pub fn number(&self, field: &str) -> Result<u64, String> {
        self.0[field].as_u64().ok_or(format!("{field} must be a number"))
    }
    pub fn flag(&self, field: &str) -> bool {
        self.0[field].as_bool().unwrap_or(false)
    }
    pub fn bytes(&self, field: &str) -> Result<Vec<u8>, String> {
        from_hex(self.string(field)?)
    }
    pub fn bytes_or_empty(&self, field: &str) -> Result<Vec<u8>, String> {
        if self.has(field) { self.bytes(field) } else { Ok(Vec::new()) }
    }
    fn list(&self, field: &str) -> &[Value] {
        self.0[field].as_array().map_or(&[], Vec::as_slice)
    }
    pub fn bytes_list(&self, field: &str) -> Result<Vec<Vec<u8>>, String> {
        self.list(field)
            .iter()
            .map(|each| from_hex(each.as_str().ok_or(format!("{field} must hold text"))?))
            .collect()
    }
    pub fn numbers(&self, field: &str) -> Result<Vec<u64>, String> {
        self.list(field)
            .iter()
            .map(|each| each.as_u64().ok_or(format!("{field} must hold numbers")))
            .collect()
    }
}

/// Answers requests until the input ends.
pub fn serve(mut answer: impl FnMut(&str, &Request) -> Answer) {
    let mut out = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let result = match serde_json::from_str::<Value>(&line) {
            Ok(value) => {
                let request = Request(value);
                request.string("op").map(str::to_string).and_then(|op| answer(&op, &request))
            }
            Err(error) => Err(error.to_string()),
        };
        let reply = match result {
            Ok(mut value) => {
                value["ok"] = json!(true);
                value
            }
            Err(text) => json!({"ok": false, "error": "refused", "text": text}),
        };
        if writeln!(out, "{reply}").and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}
