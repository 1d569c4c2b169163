//! Raw file → validated [`Config`]: pure, and every mistake is reported at once, with what to write instead.

mod auth;
mod guardrails;
mod limits;
mod observe;
mod process;
mod report;
mod tenants;
mod upstreams;
mod url;

#[cfg(test)]
mod tests;

use tollgate_filters::conf::{KeyPath, Problem};
use tollgate_filters::policy::Prices;
use tollgate_filters::scan::injection::InjectionSpec;
use tollgate_filters::scan::{Profile, RuleSpec};

use super::{Config, raw};
use report::Report;

/// Contents of the files that the configuration names, read by whoever loads it.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// The file under `prices`, or the built-in list.
    pub prices: Prices,
    /// One per entry of `guardrails.profiles`.
    pub profiles: Vec<Profile>,
    /// One list per entry of `guardrails.rules`.
    pub rules: Vec<Vec<RuleSpec>>,
    /// One per entry of `guardrails.injection_signals`.
    pub injection_signals: Vec<InjectionSpec>,
}

impl Config {
    /// Checks everything that is more than shape.
    ///
    /// # Errors
    /// All problems, in the order of the file's sections.
    pub fn build(raw: raw::Config, files: Files) -> Result<Config, Vec<Problem>> {
        let mut report = Report::default();
        let root = KeyPath::root();
        let names = upstreams::Names::of(&raw);

        let listeners = process::listeners(&mut report, &root.key("listeners"), raw.listeners);
        let admin = process::admin(&mut report, &root.key("admin"), raw.admin, &listeners);
        if raw.state_dir.trim().is_empty() {
            report.refuse(root.key("state_dir"), "is empty; write a folder, such as ./state");
        }
        let process = process::process(&mut report, &root.key("process"), &raw.process);
        let bounds = process::bounds(&mut report, &root.key("bounds"), &raw.bounds);
        let auth = auth::auth(&mut report, &root.key("auth"), raw.auth);
        let organizations =
            tenants::organizations(&mut report, &root.key("organizations"), raw.organizations, &names);
        let callers = tenants::Callers::of(&organizations, !auth.jwt.is_empty());
        auth::check_tenants(&mut report, &root.key("auth"), &auth, &callers);
        let providers = upstreams::providers(&mut report, &root.key("providers"), raw.providers);
        let models = upstreams::models(&mut report, &root.key("models"), raw.models, &providers);
        let routes = upstreams::routes(&mut report, &root.key("routes"), raw.routes, &names, &callers);
        let teams = routes.iter().filter_map(|route| route.team.clone()).collect();
        let known = limits::Known { callers: &callers, names: &names, teams };
        let limits = limits::limits(&mut report, &root.key("limits"), raw.limits, &known);
        let guardrails = guardrails::guardrails(
            &mut report,
            &root.key("guardrails"),
            raw.guardrails,
            &files.profiles,
            (files.rules, files.injection_signals),
            &known,
            &guardrails::Fleet { models: &models, providers: &providers },
        );
        let audit = observe::audit(&mut report, &root.key("audit"), raw.audit);
        let telemetry = observe::telemetry(&mut report, &root.key("telemetry"), raw.telemetry);
        if callers.is_nobody() && !routes.iter().any(|route| route.anonymous_as.is_some()) {
            report.warn(root, "nobody can call: there is no API key, no JWT issuer and no anonymous route");
        }

        let warnings = report.finish()?;
        Ok(Config {
            listeners,
            admin,
            state_dir: raw.state_dir.into(),
            process,
            bounds,
            auth,
            organizations,
            providers,
            models,
            routes,
            limits,
            guardrails,
            audit,
            telemetry,
            prices: files.prices,
            warnings,
        })
    }
}
