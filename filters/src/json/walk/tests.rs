use proptest::prelude::*;
use serde_json::Value as Tree;

use super::*;

fn whole(body: &[u8], limit: usize) -> Result<Range<usize>, Invalid> {
    let mut walk = Walk::new(body, limit)?;
    let span = walk.skip()?;
    walk.end()?;
    Ok(span)
}

/// The tree that serde_json would build, built from the walk.
fn tree(walk: &mut Walk<'_>) -> Result<Tree, Invalid> {
    Ok(match walk.value()? {
        Value::Null => Tree::Null,
        Value::Bool(value) => Tree::Bool(value),
        Value::Number(text) => serde_json::from_str(text).expect("in range, by the generator"),
        Value::String(text) => Tree::String(text.decode().into_owned()),
        Value::Array => {
            let mut list = Vec::new();
            while walk.element()? {
                list.push(tree(walk)?);
            }
            Tree::Array(list)
        }
        Value::Object => {
            let mut map = serde_json::Map::new();
            while let Some(key) = walk.key()? {
                map.insert(key.decode().into_owned(), tree(walk)?);
            }
            Tree::Object(map)
        }
    })
}

#[test]
fn bad_bodies_name_the_byte_and_the_fault() {
    let table: &[(&[u8], usize, Fault)] = &[
        (b"", 0, Fault::Empty),
        (b" \n\t ", 4, Fault::Empty),
        (b"\xef\xbb\xbf{}", 0, Fault::ByteOrderMark),
        (b"{\"a\":\"\xff\"}", 6, Fault::NotUtf8),
        (b"{\"a\":\"\xed\xa0\x80\"}", 6, Fault::NotUtf8),
        (b"{\"a\":\"\xc0\xaf\"}", 6, Fault::NotUtf8),
        (b"\"\xe4\xb8", 1, Fault::NotUtf8),
        (b"{", 1, Fault::Ended),
        (b"{\"a", 3, Fault::Ended),
        (b"{\"a\"", 4, Fault::Ended),
        (b"{\"a\":", 5, Fault::Ended),
        (b"{\"a\":1", 6, Fault::Ended),
        (b"{\"a\":1,", 7, Fault::Ended),
        (b"[1", 2, Fault::Ended),
        (b"[1,", 3, Fault::Ended),
        (b"tru", 0, Fault::Ended),
        (b"-", 1, Fault::Ended),
        (b"1.", 2, Fault::Ended),
        (b"1e+", 3, Fault::Ended),
        (b"\"\\", 2, Fault::Ended),
        (b"\"\\u00", 5, Fault::Ended),
        (b"truth", 0, Fault::NoValue),
        (b"True", 0, Fault::NoValue),
        (b"NaN", 0, Fault::NoValue),
        (b"Infinity", 0, Fault::NoValue),
        (b"'a'", 0, Fault::NoValue),
        (b"[,1]", 1, Fault::NoValue),
        (b"[1,]", 3, Fault::NoValue),
        (b"[1,,2]", 3, Fault::NoValue),
        (b"{\"a\":}", 5, Fault::NoValue),
        (b"/* c */ {}", 0, Fault::NoValue),
        (b"\x00{}", 0, Fault::NoValue),
        (b"\xc2\xa0{}", 0, Fault::NoValue),
        (b"{a:1}", 1, Fault::NoKey),
        (b"{1:1}", 1, Fault::NoKey),
        (b"{,}", 1, Fault::NoKey),
        (b"{\"a\":1,}", 7, Fault::NoKey),
        (b"{\"a\" 1}", 5, Fault::NoColon),
        (b"{\"a\":1 \"b\":2}", 7, Fault::NoComma),
        (b"[1 2]", 3, Fault::NoComma),
        (b"[1}", 2, Fault::NoComma),
        (b"{\"a\":1]", 6, Fault::NoComma),
        (b"{} {}", 3, Fault::Trailing),
        (b"{}]", 2, Fault::Trailing),
        (b"{}\x00", 2, Fault::Trailing),
        (b"1 2", 2, Fault::Trailing),
        (b"01", 0, Fault::BadNumber),
        (b"-012", 1, Fault::BadNumber),
        (b"-a", 1, Fault::BadNumber),
        (b"1.e5", 2, Fault::BadNumber),
        (b"1ee5", 2, Fault::BadNumber),
        (b"[+1]", 1, Fault::NoValue),
        (b"[.5]", 1, Fault::NoValue),
        (b"[0x10]", 2, Fault::NoComma),
        (b"\"a\nb\"", 2, Fault::ControlCharacter),
        (b"\"\x00\"", 1, Fault::ControlCharacter),
        (b"{\"a\tb\":1}", 3, Fault::ControlCharacter),
        (b"\"\\x41\"", 1, Fault::BadEscape),
        (b"\"\\u12g4\"", 5, Fault::BadEscape),
        (b"\"\\u+123\"", 3, Fault::BadEscape),
        (b"\"\\ud800\"", 1, Fault::LoneSurrogate),
        (b"\"\\udc00\"", 1, Fault::LoneSurrogate),
        (b"\"\\ud800\\u0041\"", 1, Fault::LoneSurrogate),
        (b"\"\\ud800\\n\"", 1, Fault::LoneSurrogate),
        (b"\"\\udc00\\ud800\"", 1, Fault::LoneSurrogate),
        (b"[[[[1]]]]", 3, Fault::TooDeep),
        (b"{\"a\":{\"b\":[{}]}}", 11, Fault::TooDeep),
    ];
    for &(body, offset, fault) in table {
        let shown = String::from_utf8_lossy(body);
        assert_eq!(whole(body, 3), Err(Invalid { offset, fault }), "{shown:?}");
    }
}

#[test]
fn what_others_refuse_or_change_passes() {
    let table = [
        "1e999",
        "-0.0e-0",
        "123456789012345678901234567890.10",
        r#"{"a":1,"a":2}"#,
        "\"\u{2028}\u{fffd}\u{7f}\"",
        " \r\n\t{ } ",
        r#""\ud83d\ude00\u0000""#,
        "[[[]]]",
    ];
    for body in table {
        let span = whole(body.as_bytes(), 3).expect(body);
        assert_eq!(&body[span], body.trim());
    }
}

#[test]
fn depth_is_bounded_without_recursion() {
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(whole(deep(128).as_bytes(), 128).is_ok());
    assert_eq!(whole(deep(129).as_bytes(), 128).map_err(|e| e.fault), Err(Fault::TooDeep));
    assert!(whole(deep(200_000).as_bytes(), 200_000).is_ok(), "no stack to run out of");
    let open = "{\"a\":".repeat(100_000);
    assert_eq!(whole(open.as_bytes(), 128).map_err(|e| e.fault), Err(Fault::TooDeep));
}

#[test]
fn keys_are_decoded_and_spans_are_exact() {
    let body = r#"{"mod\u0065l": "a\"b", "n" : 1.0 , "l":[true]}"#;
    let mut walk = Walk::new(body.as_bytes(), 8).expect("not empty");
    assert!(matches!(walk.value(), Ok(Value::Object)));
    let key = walk.key().expect("valid").expect("a key");
    assert!(key.is("model") && key.is_escaped() && !key.is("mod\\u0065l"));
    assert_eq!(&body[key.span()], r#""mod\u0065l""#);
    let Ok(Value::String(text)) = walk.value() else { panic!("a string") };
    assert_eq!((text.raw(), &*text.decode(), &body[text.span()]), (r#"a\"b"#, "a\"b", r#""a\"b""#));
    assert!(walk.key().expect("valid").expect("a key").is("n"));
    assert!(matches!(walk.value(), Ok(Value::Number("1.0"))));
    assert!(walk.key().expect("valid").expect("a key").is("l"));
    assert_eq!(walk.skip().map(|span| &body[span]), Ok("[true]"));
    assert!(walk.key().expect("valid").is_none());
    assert_eq!((walk.end(), walk.depth()), (Ok(()), 0));
}

/// JSON-like text with all the traps: escapes whole and broken, numbers good and bad, nesting.
fn fragments() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\\", " ", "\n", "null", "true", "false", "0", "-1", "2.5e3", "01", "1.",
            "\"a\"", "\"k\":", "\"\\u0041\"", "\"\\ud83d\\ude00\"", "\"\\ud800\"", "\"\\udc00\"", "\\n", "\\u12", "é", "\u{1}", "{}", "[]",
        ]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn trees() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::from),
        any::<i64>().prop_map(Tree::from),
        any::<f64>().prop_map(Tree::from),
        any::<String>().prop_map(Tree::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Tree::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| Tree::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Both accept, or both refuse. Differences, documented: nesting (ours is configured; these texts stay below both bounds), and
    /// numbers out of f64's range, which we pass on as they are spelled.
    #[test]
    fn accepts_what_serde_json_accepts(body in fragments()) {
        let theirs = match serde_json::from_str::<Tree>(&body) {
            Err(e) if e.to_string().contains("number out of range") => return Ok(()),
            theirs => theirs,
        };
        prop_assert_eq!(whole(body.as_bytes(), 100).is_ok(), theirs.is_ok(), "{:?}", body);
        if let Ok(theirs) = theirs {
            let mut walk = Walk::new(body.as_bytes(), 100).expect("accepted above");
            prop_assert_eq!(tree(&mut walk), Ok(theirs));
        }
    }

    #[test]
    fn reads_every_tree_as_serde_json_wrote_it(value in trees(), pretty in any::<bool>()) {
        let body = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let body = body.expect("a tree serialises");
        let expected: Tree = serde_json::from_str(&body).expect("what it wrote");
        let mut walk = Walk::new(body.as_bytes(), 100).expect("not empty");
        prop_assert_eq!(tree(&mut walk), Ok(expected));
        prop_assert_eq!(whole(body.as_bytes(), 100), Ok(0..body.len()));
        // Cut anywhere it is no longer whole (a bare number may be).
        if !value.is_number() {
            for cut in 0..body.len() {
                prop_assert!(whole(&body.as_bytes()[..cut], 100).is_err());
            }
        }
    }

    #[test]
    fn bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = whole(&body, 16);
    }
}
