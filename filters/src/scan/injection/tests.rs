use super::*;

struct Bench {
    spec: InjectionSpec,
    injection: Injection,
    fold: Fold,
}

fn builtin() -> Bench {
    let (spec, fold) = (InjectionSpec::builtin(), Fold::new());
    let injection = Injection::compile(&spec, &fold).unwrap_or_else(|errors| {
        panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    });
    Bench { spec, injection, fold }
}

impl Bench {
    fn score(&self, text: &str) -> Score {
        self.injection.score(&self.fold, text, &mut Scratch::default())
    }
}

#[test]
fn signals_do_what_their_examples_say() {
    let bench = builtin();
    let mut wrong = Vec::new();
    for signal in &bench.spec.signals {
        for text in &signal.examples.matches {
            let score = bench.score(text);
            let seen = score.signals.iter().any(|(id, _)| **id == *signal.id);
            if score.points < 50 || !seen {
                wrong.push(format!("{}: {text:?} should be found: {score:?}", signal.id));
            }
        }
        for text in &signal.examples.no_match {
            let score = bench.score(text);
            let full = score
                .signals
                .iter()
                .any(|(id, points)| **id == *signal.id && i32::from(*points) == i32::from(signal.weight));
            if score.points >= 50 || full && signal.weight >= 50 {
                wrong.push(format!("{}: {text:?} should not be found: {score:?}", signal.id));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
