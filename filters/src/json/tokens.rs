//! The walk as a flat sequence, for readers that do not care what stands where.

use super::walk::{Invalid, Key, Value, Walk};

/// One token of a text.
#[derive(Debug, Clone, Copy)]
pub enum Token<'a> {
    /// A scalar, or a container just entered.
    Value(Value<'a>),
    /// A key of the innermost object; its value comes next.
    Key(Key<'a>),
    /// Another element of the innermost array comes next.
    Element,
    /// The innermost container ends.
    Leave,
}

/// Tokens of one JSON text, in order. What follows the text is not looked at.
#[derive(Debug)]
pub struct Tokens<'a> {
    walk: Walk<'a>,
    /// Whether a value comes next.
    due: bool,
}

impl<'a> Tokens<'a> {
    pub fn new(body: &'a [u8], limit: usize) -> Result<Self, Invalid> {
        Walk::new(body, limit).map(|walk| Tokens { walk, due: true })
    }

    pub fn over(text: &'a str, limit: usize) -> Result<Self, Invalid> {
        Walk::over(text, limit).map(|walk| Tokens { walk, due: true })
    }

    /// Offset just past the last token.
    pub fn at(&self) -> usize {
        self.walk.at()
    }

    /// The next token; `None` after the end of the value.
    pub fn token(&mut self) -> Result<Option<Token<'a>>, Invalid> {
        if self.due {
            self.due = false;
            return self.walk.value().map(Token::Value).map(Some);
        }
        let token = match self.walk.in_object() {
            None => return Ok(None),
            Some(true) => self.walk.key()?.map_or(Token::Leave, Token::Key),
            Some(false) if self.walk.element()? => Token::Element,
            Some(false) => Token::Leave,
        };
        self.due = !matches!(token, Token::Leave);
        Ok(Some(token))
    }

    /// Whether nothing but white space follows the value that has been read.
    pub fn end(&mut self) -> Result<(), Invalid> {
        self.walk.end()
    }
}
