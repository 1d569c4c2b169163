//! Model rules, then limits and the audit slot, then the scan: a refused call costs no scan, and what is refused after a
//! reservation was taken settles at zero tokens.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pingora_proxy::Session;
use tollgate_filters::answer::{self, Pipeline};
use tollgate_filters::audit::Decision;
use tollgate_filters::chat::{Api, Call};
use tollgate_filters::identity::Caller;
use tollgate_filters::scan::Masker;
use tollgate_filters::scan::request::{self, Screened};
use tollgate_filters::verdict::{Code, Rejection};

use super::answer_head::AnswerHead;
use super::ctx::{Exchange, Held, Proxied};
use super::errors::Stop;
use super::intake::Next;
use super::metadata::Serving;
use super::seam::{Comments, Control, Seam};
use crate::audit::Full;
use crate::clock;
use crate::config::{Content, Labels, Model, Route};
use crate::fail;
use crate::guard::{Policies, Subject};
use crate::limits::{Ask, Refused};
use crate::upstream::{Plan, Want};

/// Lanes of one answer, at most.
const MAX_LANES: usize = 256;

/// Bodies larger than this are screened without holding up the other requests of the thread.
const SCREEN_INLINE: usize = 128 * 1024;

/// An authenticated call with its whole body.
pub(crate) struct Asked<'a> {
    pub(crate) caller: Caller,
    pub(crate) call: Call,
    pub(crate) body: Bytes,
    pub(crate) route: Option<&'a Route>,
    pub(crate) team: Option<Arc<str>>,
}

/// Admits the call and prepares its way through the upstreams, or says why not.
pub(crate) async fn admit(
    session: &mut Session,
    exchange: &mut Exchange,
    asked: Asked<'_>,
) -> Result<Next, Stop> {
    let runtime = Arc::clone(&exchange.runtime);
    let Asked { caller, call, body, route, team } = asked;
    describe(exchange, &caller, &call);
    let model = runtime.model_for(&caller, &call.model)?;
    exchange.facts.model_label = Some(Arc::clone(&model.name));
    reserve(exchange, &caller, &call, team.as_deref(), body.len()).await?;

    let subject = Subject { caller: &caller, model: &call.model, team: team.as_deref() };
    let policies = runtime.guard.policies(subject);
    let masker = runtime.guard.masker(&policies, &caller.organization);
    let (call, screened, masker) = screen(exchange, call, &body, &policies, masker).await?;
    exchange.live.metrics.scanned.with_label_values(&["request"]).inc_by(screened.scanned as u64);
    note_prompt(exchange, &call, &body, &screened);
    note_labels(exchange, &screened);
    if let Some(rejection) = screened.rejection {
        note_findings(exchange, &masker);
        if let Some(reservation) = exchange.permits.reservation.take() {
            reservation.settle(0, clock::now());
        }
        return Err(runtime.guard.failed(rejection).into());
    }

    let plan = plan(exchange, &caller, &call, &screened.require)?;
    let control = control(session, exchange, &call, model, route);
    let serving = Serving::default();
    let pipeline = pipeline(exchange, &call, &policies, masker, &serving);
    session.downstream_session.set_write_timeout(None); // from here on the seam bounds every write
    let home = Seam::wrap(&mut session.downstream_session, body.clone(), Arc::clone(&control));
    let busy = exchange.facts.body_read.map_or(Duration::ZERO, |read| read.elapsed());
    exchange.facts.overhead += busy;
    exchange.proxied = Some(Box::new(Proxied {
        call,
        body,
        edits: screened.edits,
        outgoing: Bytes::new(),
        plan,
        policies,
        pipeline,
        control,
        home: Some(home),
        attempt: None,
        serving,
        team,
        deaf: false,
        form: answer::Form::Opaque,
        blocked: false,
        done: false,
        left_early: false,
        late: None,
        stale_used: false,
        scratch: Vec::new(),
        held: Held::default(),
        first_byte: route.and_then(|route| route.first_byte),
    }));
    Ok(Next::Upstream)
}

fn describe(exchange: &mut Exchange, caller: &Caller, call: &Call) {
    let guard = &exchange.runtime.guard;
    let session = call.session.clone().map(|session| guard.id(&caller.organization, session));
    let event = &mut exchange.facts.event;
    event.model_requested = Some(call.model.as_str().into());
    event.stream = call.stream;
    event.session_id = session;
}

/// All limits in one step, then the audit slot.
async fn reserve(
    exchange: &mut Exchange,
    caller: &Caller,
    call: &Call,
    team: Option<&str>,
    body_len: usize,
) -> Result<(), Rejection> {
    let estimate = call.estimate(body_len);
    exchange.facts.estimate = estimate;
    let ask = Ask {
        organization: &caller.organization,
        application: &caller.application,
        user: caller.user.as_deref(),
        key: caller.key_id.as_deref(),
        model: &call.model,
        team,
        address: exchange
            .facts
            .event
            .client_ip
            .unwrap_or(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)),
        tokens: estimate.total(),
        now: clock::now(),
    };
    let live = Arc::clone(&exchange.live);
    match live.limits.reserve(&exchange.runtime.limits, &ask).await {
        Ok(reservation) => {
            exchange.facts.standing = *reservation.standing();
            exchange.permits.reservation = Some(reservation);
        }
        Err(refused) => {
            exchange.facts.standing = refused.standing();
            let rejection = refused.rejection();
            let Refused::Over(refusal) = refused else { return Err(rejection) };
            live.metrics.limit_refusals.with_label_values(&[&refusal.limit, refusal.what.as_str()]).inc();
            let decision = Decision {
                limit: Some(Arc::clone(&refusal.limit)),
                outcome: "refused".into(),
                ..Default::default()
            };
            exchange.facts.event.decisions.push(decision);
            return Err(rejection);
        }
    }
    match live.audit.slot(exchange.runtime.config.audit.when_full) {
        Ok(slot) => exchange.permits.slot = Some(slot),
        Err(Full) => {
            live.metrics.audit_events.with_label_values(&["refused"]).inc();
            let message = "The audit trail cannot take this request at the moment, so it was not sent on. Try again shortly.";
            return Err(
                Rejection::new(Code::AuditUnavailable, message).with_retry_after(Duration::from_secs(1))
            );
        }
    }
    Ok(())
}

/// Scans the call's texts; a large body on a thread of its own, so that the other requests of this one go on. Where the scan
/// panics, what it had is lost with it, and the request is refused.
async fn screen(
    exchange: &Exchange,
    call: Call,
    body: &Bytes,
    policies: &Policies,
    mut masker: Masker,
) -> Result<(Call, Screened, Masker), Rejection> {
    let scan = {
        let (runtime, body, policy) =
            (Arc::clone(&exchange.runtime), body.clone(), Arc::clone(&policies.request));
        let request_id = Arc::clone(&exchange.facts.event.request_id);
        move || {
            fail::point("screen", &request_id);
            let guard = &runtime.guard;
            let options = guard.options();
            let screened = request::screen(&call, &body, &guard.rules, &policy, &mut masker, options);
            (call, screened, masker)
        }
    };
    let scanned = if body.len() <= SCREEN_INLINE {
        catch_unwind(AssertUnwindSafe(scan)).ok()
    } else {
        tokio::task::spawn_blocking(scan).await.ok()
    };
    scanned.ok_or_else(|| {
        tracing::error!(request_id = exchange.request_id(), "a scan panicked");
        let message = "The request could not be checked, so it was not sent on.";
        exchange.runtime.guard.failed(Rejection::new(Code::GuardrailFailed, message))
    })
}

/// The prompt's texts as they go upstream, for the audit trail, as its policy says.
fn note_prompt(exchange: &mut Exchange, call: &Call, body: &Bytes, screened: &Screened) {
    let audit = &exchange.runtime.config.audit;
    let max = match audit.content {
        Content::Off => return,
        Content::Redacted => audit.max_text,
        Content::Hashed => usize::MAX, // a digest of all of it
    };
    let text = request::texts_for_audit(call, body, screened, max);
    exchange.facts.event.prompt = super::finish::content(audit, text);
}

fn note_findings(exchange: &mut Exchange, masker: &Masker) {
    let event = &mut exchange.facts.event;
    event.findings = super::finish::findings(masker);
    super::finish::decide(event, masker);
}

/// Which labels findings demand, or would.
fn note_labels(exchange: &mut Exchange, screened: &Screened) {
    for (labels, outcome) in [(&screened.require, "required"), (&screened.would_require, "would_require")] {
        exchange.facts.event.decisions.extend(labels.iter().map(|(name, value)| Decision {
            label: Some(format!("{name}={value}").into()),
            outcome: outcome.into(),
            ..Decision::default()
        }));
    }
}

fn plan(exchange: &Exchange, caller: &Caller, call: &Call, require: &Labels) -> Result<Plan, Rejection> {
    let fleet = &exchange.runtime.fleet;
    // `model_for` found it before: both know the same names.
    let Some(model) = fleet.model(&call.model) else {
        return Err(Rejection::new(Code::ModelNotFound, "There is no such model here.").with_param("model"));
    };
    let want = Want {
        api: call.api,
        stateful: call.stateful,
        organization: &caller.organization,
        application: &caller.application,
        user: caller.user.as_deref(),
        key: caller.key_id.as_deref(),
        session: call.session.as_deref(),
        require: Some(require).filter(|labels| !labels.is_empty()),
        seed: rand::random(),
    };
    fleet.plan(model, &want)
}

/// Deadlines and comments of this request.
fn control(
    session: &Session,
    exchange: &Exchange,
    call: &Call,
    model: &Model,
    route: Option<&Route>,
) -> Arc<Control> {
    let control = Control::new(Arc::clone(&exchange.live.lifecycle.cut));
    let total = route.and_then(|route| route.total).unwrap_or_else(|| exchange.runtime.total(model));
    control.set_total((exchange.started + total).into());
    let old_http = session.req_header().version == http::Version::HTTP_10;
    if let Some(after) = model.first_event_comment_after.filter(|_| call.stream && !old_http) {
        let mut head = AnswerHead::new(http::StatusCode::OK);
        super::respond::stream_headers(&mut head);
        exchange.decorate(&mut head);
        let text = match call.api {
            Api::Messages => Bytes::from_static(b"event: ping\ndata: {\"type\": \"ping\"}\n\n"),
            _ => Bytes::from_static(b": the model is working\n\n"),
        };
        control.set_comments(Comments { every: after, text, header: head.into() }, after);
    }
    control
}

fn pipeline(
    exchange: &Exchange,
    call: &Call,
    policies: &Policies,
    masker: Masker,
    serving: &Serving,
) -> Pipeline {
    let config = &exchange.runtime.config;
    let guard = (!policies.answer.is_idle() || masker.restores()).then(|| answer::Guard {
        rules: Arc::clone(&exchange.runtime.guard.rules),
        policy: Arc::clone(&policies.answer),
    });
    let keep_text = match config.audit.content {
        Content::Off => 0,
        Content::Redacted => config.audit.max_text,
        Content::Hashed => config.bounds.max_answer, // a digest of all of it
    };
    let options = answer::Options {
        usage_asked: call.usage_asked,
        structured: call.structured,
        guard,
        max_event: config.bounds.max_event,
        max_lanes: MAX_LANES,
        max_answer: config.bounds.max_answer,
        keep_text,
        input_estimate: exchange.facts.estimate.input,
        metadata: serving.metadata(&exchange.runtime, exchange.started),
        ..answer::Options::new(call.api)
    };
    Pipeline::new(options, masker)
}
