//! `tollgate key create`: a new API key, printed once.

use std::process::ExitCode;

use rand::TryRng;
use rand::rngs::SysRng;
use tollgate_filters::identity::key;

use crate::cli::{self, KeyArgs, KeyCommand};

pub(crate) fn run(command: &KeyCommand) -> ExitCode {
    let KeyCommand::Create(args) = command;
    if !is_plain(&args.id) {
        eprintln!("--id: write 1 to 128 letters, digits, `_`, `-` or `.`, such as ci");
        return ExitCode::from(cli::USAGE);
    }
    match create(&args.id) {
        Ok(made) => {
            // Only the key goes to standard output: export TOLLGATE_KEY=$(tollgate key create)
            println!("{made}");
            eprint!("{}", entry(args, &made));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("no random numbers from the system: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A key of this id with 256 random bits from the operating system.
///
/// # Errors
/// The operating system has none to give.
pub(crate) fn create(id: &str) -> Result<String, rand::rngs::SysError> {
    let mut random = [0; 32];
    SysRng.try_fill_bytes(&mut random)?;
    Ok(key::compose(id, &random))
}

/// The entry to paste: it holds the hash, not the key.
fn entry(args: &KeyArgs, made: &str) -> String {
    let secret = key::split(made).map_or(made, |generated| generated.secret);
    let hash: String = key::sha256(secret).iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "\nThis is the only time the key is shown. To let it in, paste:\n\n\
         organizations:\n  \
           - id: {org}\n    \
             applications:\n      \
               - id: {app}\n        \
                 keys:\n          \
                   - {{id: {id}, hash: \"{hash}\"}}\n\n\
         or keep the key in the environment: {{id: {id}, key: \"${{TOLLGATE_KEY}}\"}}\n",
        org = quoted(&args.org),
        app = quoted(&args.app),
        id = quoted(&args.id),
    )
}

/// As it must stand in YAML: words plain, all else in quotes, so that nothing is read as a number or as syntax.
fn quoted(name: &str) -> String {
    let word = name.starts_with(|c: char| c.is_ascii_alphabetic()) && is_plain(name);
    let taken = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    if word && !taken.contains(&name.to_ascii_lowercase().as_str()) {
        name.to_owned()
    } else {
        format!("{name:?}")
    }
}

fn is_plain(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !name.is_empty() && name.len() <= 128 && name.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_entry_lets_the_key_in() {
        for id in ["dev", "team_a", "007"] {
            let args = KeyArgs { org: "no".into(), app: "my app".into(), id: id.into() };
            let made = create(id).expect("the system has random numbers");
            assert_ne!(made, create(id).expect("the system has random numbers"));
            let generated = key::split(&made).expect("a generated key splits");
            assert_eq!((generated.id, generated.secret.len()), (id, 64));
            let text = entry(&args, &made);
            assert!(!text.contains(generated.secret), "the entry holds no secret");
            let yaml: String = text
                .lines()
                .skip(3)
                .take_while(|line| !line.is_empty())
                .fold(String::new(), |all, line| all + line + "\n");
            let parsed: serde_json::Value = serde_saphyr::from_str(&yaml).expect("the entry is YAML");
            let organization = &parsed["organizations"][0];
            assert_eq!(organization["id"], "no");
            let entry = &organization["applications"][0]["keys"][0];
            assert_eq!(entry["id"], id);
            let hash: String = key::sha256(generated.secret).iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(entry["hash"], hash);
        }
    }
}
