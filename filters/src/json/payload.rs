//! Payloads in strings, as they are spelled: base64 (RFC 4648) and data URLs of it (RFC 2397).

/// Whether a string has nothing outside the alphabets of base64. Some encoders escape every slash; line ends may stand in it.
pub(crate) fn is_base64(raw: &str) -> bool {
    let mut rest = raw.as_bytes();
    loop {
        // Most of a payload, in blocks that the compiler reads at once: an image has megabytes.
        while let Some((block, others)) = rest.split_first_chunk::<64>()
            && block.iter().fold(true, |all, byte| all & belongs(*byte))
        {
            rest = others;
        }
        let run = rest.iter().position(|byte| !belongs(*byte)).unwrap_or(rest.len());
        rest = match &rest[run..] {
            [] => return true,
            [b'\\', b'/' | b'n' | b'r', others @ ..] => others,
            _ => return false,
        };
    }
}

fn belongs(byte: u8) -> bool {
    let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    let digit = byte.wrapping_sub(b'0') < 10;
    letter | digit | (byte == b'+') | (byte == b'/') | (byte == b'=') | (byte == b'-') | (byte == b'_')
}

/// The same without the alphabet that is made for URLs, of which keys are as well: images, audio and files have none of it.
pub(crate) fn is_standard_base64(raw: &str) -> bool {
    memchr::memchr2(b'-', b'_', raw.as_bytes()).is_none() && is_base64(raw)
}

/// Whether a string is a data URL in base64, of any type or of one that begins so (`image/`).
pub(crate) fn is_data_url(raw: &str, of_type: &str) -> bool {
    const LONGEST_TYPE: usize = 256;
    const MARK: &str = ";base64,";
    let Some((scheme, rest)) = raw.split_at_checked(5) else { return false };
    let head = &rest.as_bytes()[..rest.len().min(LONGEST_TYPE)];
    let Some(at) = memchr::memmem::find(head, MARK.as_bytes()) else { return false };
    let (media_type, data) = (rest[..at].replace("\\/", "/").to_ascii_lowercase(), &rest[at + MARK.len()..]);
    // What is no type may be a text.
    let is_type = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'+' | b'.' | b'-' | b'_' | b';' | b'=')
    };
    scheme.eq_ignore_ascii_case("data:")
        && media_type.bytes().all(is_type)
        && media_type.starts_with(of_type)
        && is_standard_base64(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_known_by_its_alphabets() {
        let block = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/";
        for (text, expect) in [
            ("", true),
            ("YWxpY2U=", true),
            (r"a\/b-c_d", true),
            (r"YWxp\r\nY2U=", true),
            (r"YWxp\u0020", false),
            (r"YWxp\", false),
            ("YWxp Y2U=", false),
            ("alice@corp.com", false),
            ("é", false),
        ] {
            for blocks in 0..3 {
                let (before, behind) = (block.repeat(blocks), block.repeat(2 - blocks));
                assert_eq!(is_base64(&format!("{before}{text}{behind}")), expect, "{text} behind {blocks}");
                assert_eq!(is_base64(&format!("{before}{text}")), expect, "{text} behind {blocks}");
            }
        }
        for byte in 0..=127_u8 {
            let known = byte.is_ascii_alphanumeric() || b"+/=-_".contains(&byte);
            assert_eq!(belongs(byte), known, "{byte:#x}");
        }
    }

    #[test]
    fn data_urls_are_known_whole() {
        for (text, of_any, of_image) in [
            ("data:image/png;base64,YWxpY2U=", true, true),
            ("DATA:Image/PNG;base64,YWxpY2U=", true, true),
            (r"data:image\/png;base64,YWxpY2U=", true, true),
            (r"data:image/png;base64,YWxp+/\/==", true, true),
            ("data:image/png;base64,ghp_YWxpY2U", false, false),
            ("data:image/png;base64,YWxp-Y2U", false, false),
            ("data:;base64,YWxpY2U=", true, false),
            ("data:text/plain;charset=utf-8;base64,YWxpY2U=", true, false),
            ("data:;base64,write to alice@corp.com", false, false),
            ("data:image/png;base64,alice@corp.com", false, false),
            ("data:image/png,alice", false, false),
            ("data:text/plain,a;base64,", false, false),
            ("data:alice@corp.com;base64,YWxpY2U=", false, false),
            ("image/png;base64,YWxpY2U=", false, false),
            ("dataé:;base64,", false, false),
            ("data", false, false),
        ] {
            assert_eq!((is_data_url(text, ""), is_data_url(text, "image/")), (of_any, of_image), "{text}");
        }
    }
}
