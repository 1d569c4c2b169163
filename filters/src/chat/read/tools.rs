//! Tool definitions and answer formats.

use super::{Fail, Reader, Seen, wrong};
use crate::chat::call::{Form, Role};
use crate::json::Value;

/// Fields of a tool that are read. Its name stays, since calls refer to it; server addresses and their credentials pass.
const TOOL: &[&str] =
    &["function", "custom", "description", "parameters", "input_schema", "input_examples", "format"];

impl Reader<'_> {
    /// `tools` of every surface, and chat's old `functions`; whether there are any.
    pub(super) fn tools(&mut self) -> Result<bool, Fail> {
        let at = self.walk.value_start();
        match self.walk.value()? {
            Value::Null => return Ok(false),
            Value::Array => {}
            other => return Err(wrong(at, "must be an array of tools", &other)),
        }
        let mut any = false;
        while self.walk.element()? {
            any = true;
            self.tool()?;
        }
        Ok(any)
    }

    fn tool(&mut self) -> Result<(), Fail> {
        let at = self.walk.value_start();
        match self.walk.value()? {
            Value::Object => {}
            other => return Err(wrong(at, "must be a tool, an object", &other)),
        }
        let mut seen = Seen::default();
        while let Some(key) = self.walk.key()? {
            match seen.known(TOOL, key)? {
                Some("function" | "custom") => self.tool()?,
                Some("description") => {
                    if let Some(text) = self.string("must be a string")? {
                        self.text(text, Role::Schema, Form::Plain)?;
                    }
                }
                Some(_) => self.schema()?,
                None => {
                    self.walk.skip()?;
                }
            }
        }
        Ok(())
    }

    /// A JSON Schema, or an object with one inside.
    pub(super) fn schema(&mut self) -> Result<(), Fail> {
        self.json(Role::Schema)
    }
}
