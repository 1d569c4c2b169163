//! Allow lists of models, and labels that a target must carry.

use std::collections::BTreeMap;

/// Whether `model` stands in `allowed`. `None` allows every model; an entry may end in `*` (`gpt-4o*`), `*` alone is every
/// model. An empty list allows nothing.
pub fn model_allowed<S: AsRef<str>>(allowed: Option<&[S]>, model: &str) -> bool {
    let Some(allowed) = allowed else { return true };
    allowed.iter().any(|entry| match entry.as_ref().strip_suffix('*') {
        Some(prefix) => model.starts_with(prefix),
        None => entry.as_ref() == model,
    })
}

/// Whether a target with the labels `has` (the narrower set first: a target's own label wins over its provider's) meets every
/// label of `required`. A label that is absent meets nothing: an unlabelled target is never assumed to be in the region, or to
/// keep the data, that a policy demands.
pub fn labels_allow(required: &BTreeMap<String, String>, has: &[&BTreeMap<String, String>]) -> bool {
    required.iter().all(|(name, wanted)| has.iter().find_map(|set| set.get(name)) == Some(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allow_lists() {
        let check = |allowed: Option<&[&str]>, model, expect| {
            assert_eq!(model_allowed(allowed, model), expect, "{model} in {allowed:?}");
        };
        check(None, "anything", true);
        check(Some(&[]), "gpt-4o", false);
        check(Some(&["gpt-4o"]), "gpt-4o", true);
        check(Some(&["gpt-4o"]), "gpt-4o-mini", false);
        check(Some(&["claude*", "gpt-4o*"]), "gpt-4o-mini", true);
        check(Some(&["*"]), "", true);
        check(Some(&["gpt-4o"]), "GPT-4o", false);
    }

    #[test]
    fn labels() {
        let set = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let check =
            |required: &[(&str, &str)], target: &[(&str, &str)], provider: &[(&str, &str)], expect| {
                let (target, provider) = (set(target), set(provider));
                assert_eq!(labels_allow(&set(required), &[&target, &provider]), expect, "{required:?}");
            };
        check(&[], &[], &[], true);
        check(&[("region", "eu")], &[], &[], false);
        check(&[("region", "eu")], &[], &[("region", "eu")], true);
        check(&[("region", "eu")], &[("region", "us")], &[("region", "eu")], false);
        check(&[("region", "us")], &[("region", "us")], &[("region", "eu")], true);
        check(&[("region", "eu"), ("retention", "none")], &[], &[("region", "eu")], false);
    }
}
