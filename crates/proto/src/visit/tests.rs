//! Each phase with each event, and random histories.

use proptest::prelude::*;

use super::*;

const NOW: Duration = Duration::from_secs(100);
const WAIT: Duration = Duration::from_secs(600);
const LATER: Duration = Duration::from_secs(1000);

fn terms(several: bool) -> VisitTerms {
    VisitTerms { wait: WAIT, several }
}

const ADMITTED: VisitEvent = VisitEvent::Admitted { may_forward: false };
const SESSION: VisitEvent = VisitEvent::Began(Part::Session);
const FORWARD: VisitEvent = VisitEvent::Began(Part::Forward);
const ENDED: VisitEvent = VisitEvent::SessionEnded(Ok(3));
const LEFT: VisitEvent = VisitEvent::ClientLeft(Departure::Lost);
const STOP: VisitEvent = VisitEvent::Stop(Fault::Signalled(15));
const SEALED: VisitEvent = VisitEvent::Sealed(Ok(()));

fn after(several: bool, events: &[VisitEvent]) -> VisitState {
    let mut visit = VisitState::new(terms(several), NOW);
    for event in events {
        visit.note(event.clone(), time_of(event));
    }
    visit
}

/// Time is up later than anything else happens.
fn time_of(event: &VisitEvent) -> Duration {
    if *event == VisitEvent::TimeUp { LATER } else { NOW }
}

fn over(why: VisitEndReason, status: Result<u8, Fault>) -> Phase {
    Phase::Over(VisitOutcome { why, told: false, sealed: true, status })
}

/// Every kind of state, by a history that leads to it.
fn states() -> [(&'static str, Vec<VisitEvent>); 6] {
    [
        ("waiting", vec![]),
        ("open, nothing opened", vec![ADMITTED]),
        ("open, in session", vec![ADMITTED, SESSION]),
        ("open, left in session", vec![ADMITTED, SESSION, LEFT]),
        ("ending", vec![ADMITTED, SESSION, STOP]),
        ("over", vec![ADMITTED, STOP, SEALED]),
    ]
}

#[test]
fn each_event_in_each_phase_leads_where_the_table_says() {
    use Phase::{Ending, Open, Waiting};
    let left = || Ending(VisitEndReason::ClientLeft(Departure::Lost));
    let stopped = || Ending(VisitEndReason::Stopped(Fault::Signalled(15)));
    let sealed = || over(VisitEndReason::Stopped(Fault::Signalled(15)), Err(Fault::Signalled(15)));
    // In the order of `states`; nothing where the event changes nothing.
    let table: [(VisitEvent, [Option<Phase>; 6]); 10] = [
        (ADMITTED, [Some(Open), None, None, None, None, None]),
        (SESSION, [None, Some(Open), Some(Open), Some(Open), Some(stopped()), None]),
        (FORWARD, [None, Some(Open), Some(Open), Some(Open), Some(stopped()), None]),
        (ENDED, [None, Some(Open), Some(Open), Some(left()), Some(stopped()), None]),
        (VisitEvent::ForwardEnded, [None, Some(Open), Some(Open), Some(Open), Some(stopped()), None]),
        (LEFT, [Some(left()), Some(left()), Some(Open), None, Some(stopped()), None]),
        (
            VisitEvent::TimeUp,
            [Some(Ending(VisitEndReason::NobodyCame)), Some(Ending(VisitEndReason::NothingOpened)), None, None, None, None],
        ),
        (STOP, [Some(stopped()), Some(stopped()), Some(stopped()), Some(stopped()), None, None]),
        (VisitEvent::Told, [None, None, None, None, Some(stopped()), None]),
        (SEALED, [None, None, None, None, Some(sealed()), None]),
    ];
    let before = [Waiting, Open, Open, Open, stopped(), sealed()];
    for (event, row) in table {
        for (((name, history), before), expected) in states().into_iter().zip(before.clone()).zip(row) {
            let mut visit = after(false, &history);
            assert_eq!(*visit.phase(), before, "{name}");
            let noted = visit.note(event.clone(), time_of(&event));
            assert_eq!((visit.phase(), noted), (expected.as_ref().unwrap_or(&before), expected.is_some()), "{event:?} while {name}");
        }
    }
}

#[test]
fn time_runs_unless_something_is_open_or_may_come() {
    let may_forward = VisitEvent::Admitted { may_forward: true };
    let runs = |several, events: &[VisitEvent]| after(several, events).deadline().is_some();
    assert_eq!(after(false, &[]).deadline(), Some(NOW + WAIT));
    assert_eq!(after(false, &[ADMITTED]).deadline(), Some(NOW + DEADLINES.open));
    assert!(!runs(false, &[may_forward]), "ssh -N -L: nothing is open until a program connects");
    assert!(!runs(false, &[ADMITTED, FORWARD]), "ssh -N -R");
    assert!(runs(false, &[ADMITTED, FORWARD, VisitEvent::ForwardEnded]));
    assert!(!runs(false, &[ADMITTED, SESSION]));
    assert_eq!(after(false, &[ADMITTED, SESSION, ENDED]).deadline(), Some(NOW + DEADLINES.leave));
    assert!(!runs(false, &[ADMITTED, SESSION, FORWARD, ENDED]));
    assert!(runs(true, &[ADMITTED]), "the first session has its time");
    assert!(!runs(true, &[ADMITTED, SESSION, ENDED]), "and others may follow");
}

#[test]
fn time_that_was_up_is_not_when_there_is_more_meanwhile() {
    for history in [&[][..], &[ADMITTED], &[ADMITTED, SESSION, ENDED]] {
        let mut visit = after(false, history);
        let limit = visit.deadline().unwrap();
        assert!(!visit.note(VisitEvent::TimeUp, limit - Duration::from_nanos(1)), "{history:?}");
        assert!(visit.note(VisitEvent::TimeUp, limit), "{history:?}");
    }
}

fn ends_with(events: &[VisitEvent]) -> Result<u8, Fault> {
    let mut visit = after(false, events);
    assert!(visit.note(SEALED, NOW), "{events:?}");
    match visit.phase() {
        Phase::Over(outcome) => outcome.status.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_last_session_says_the_status_and_forwarding_alone_is_well() {
    assert_eq!(ends_with(&[LEFT]), Err(Fault::ConnectionLost));
    assert_eq!(ends_with(&[ADMITTED, LEFT]), Err(Fault::ConnectionLost));
    assert_eq!(ends_with(&[VisitEvent::Admitted { may_forward: true }, LEFT]), Ok(0));
    assert_eq!(ends_with(&[ADMITTED, FORWARD, VisitEvent::ForwardEnded, LEFT]), Ok(0));
    assert_eq!(ends_with(&[ADMITTED, FORWARD, SESSION, ENDED, VisitEvent::ForwardEnded, LEFT]), Ok(3));
    assert_eq!(ends_with(&[ADMITTED, FORWARD, SESSION, LEFT, ENDED, VisitEvent::ForwardEnded]), Ok(3));
}

#[test]
fn time_that_is_up_is_a_fault_only_where_nothing_came_of_the_visit() {
    assert_eq!(ends_with(&[VisitEvent::TimeUp]), Ok(0));
    assert_eq!(ends_with(&[ADMITTED, VisitEvent::TimeUp]), Err(Fault::NoSession(30)));
    assert_eq!(ends_with(&[ADMITTED, SESSION, ENDED, VisitEvent::TimeUp]), Ok(3));
    assert_eq!(ends_with(&[ADMITTED, FORWARD, VisitEvent::ForwardEnded, VisitEvent::TimeUp]), Ok(0));
}

#[test]
fn the_first_reason_counts_and_a_signal_after_a_session_is_none() {
    let idle = Fault::Idle(5);
    assert_eq!(ends_with(&[ADMITTED, VisitEvent::Stop(idle.clone()), STOP]), Err(idle.clone()));
    assert_eq!(ends_with(&[ADMITTED, SESSION, ENDED, VisitEvent::Stop(idle.clone())]), Err(idle));
    assert_eq!(ends_with(&[ADMITTED, SESSION, ENDED, STOP]), Ok(3));
    assert_eq!(ends_with(&[ADMITTED, SESSION, STOP, VisitEvent::SessionEnded(Err(Fault::Signalled(15)))]), Err(Fault::Signalled(15)));
}

#[test]
fn the_end_is_a_line_of_the_record_once() {
    let says = |events: &[VisitEvent]| after(false, events).unrecorded_end();
    let signalled = Some(Fault::Signalled(15));
    assert_eq!(says(&[STOP]), None, "no client was let in");
    assert_eq!(says(&[ADMITTED, STOP]), signalled);
    assert_eq!(says(&[ADMITTED, SESSION, STOP]), None, "the session says it");
    assert_eq!(says(&[ADMITTED, SESSION, STOP, VisitEvent::SessionEnded(Err(Fault::Signalled(15)))]), None, "it has said it");
    assert_eq!(says(&[ADMITTED, SESSION, ENDED, STOP]), None, "all was said");
    assert_eq!(says(&[ADMITTED, FORWARD, STOP]), signalled);
    assert_eq!(says(&[ADMITTED, VisitEvent::TimeUp]), Some(Fault::NoSession(30)));
    assert_eq!(says(&[ADMITTED, LEFT]), None);
}

#[test]
fn a_client_hears_why_unless_that_is_not_on_the_record() {
    let hears = |events: &[VisitEvent]| after(false, events).last_word();
    let record = Fault::Record { file: "log".into(), reason: "no space".into() };
    assert_eq!(hears(&[ADMITTED, STOP]), Some(Fault::Signalled(15)));
    assert_eq!(hears(&[ADMITTED, VisitEvent::Stop(record)]), None);
    assert_eq!(hears(&[ADMITTED, SESSION, ENDED, VisitEvent::TimeUp]), None);
    assert_eq!(hears(&[VisitEvent::TimeUp]), None);
}

#[test]
fn a_record_that_cannot_be_closed_is_a_fault_where_there_is_no_other() {
    let record = Fault::Record { file: "log".into(), reason: "no space".into() };
    for (history, status) in
        [(vec![ADMITTED, SESSION, LEFT, ENDED], Err(record.clone())), (vec![ADMITTED, STOP], Err(Fault::Signalled(15)))]
    {
        let mut visit = after(false, &history);
        visit.note(VisitEvent::Told, NOW);
        visit.note(VisitEvent::Sealed(Err(record.clone())), NOW);
        let Phase::Over(outcome) = visit.phase() else { panic!("{:?}", visit.phase()) };
        assert_eq!((outcome.told, outcome.sealed, &outcome.status), (true, false, &status));
    }
}

#[test]
fn it_is_known_who_ended_it() {
    for (why, party) in [
        (VisitEndReason::NobodyCame, Party::Sally),
        (VisitEndReason::NothingOpened, Party::Sally),
        (VisitEndReason::StayedOn, Party::Sally),
        (VisitEndReason::ClientLeft(Departure::Lost), Party::Client),
        (VisitEndReason::ClientLeft(Departure::Violation), Party::Client),
        (VisitEndReason::ClientLeft(Departure::Unanswered), Party::Sally),
        (VisitEndReason::Stopped(Fault::Signalled(1)), Party::Operator),
        (VisitEndReason::Stopped(Fault::Idle(1)), Party::Sally),
    ] {
        assert_eq!(why.by(), party, "{why:?}");
    }
}

fn any_event() -> impl Strategy<Value = VisitEvent> {
    prop_oneof![
        2 => any::<bool>().prop_map(|may_forward| VisitEvent::Admitted { may_forward }),
        4 => Just(SESSION),
        3 => Just(FORWARD),
        4 => (0_u8..4).prop_map(|status| VisitEvent::SessionEnded(Ok(status))),
        1 => Just(VisitEvent::SessionEnded(Err(Fault::ConnectionLost))),
        3 => Just(VisitEvent::ForwardEnded),
        1 => Just(LEFT),
        1 => Just(VisitEvent::ClientLeft(Departure::Unanswered)),
        1 => Just(VisitEvent::TimeUp),
        1 => Just(STOP),
        1 => Just(VisitEvent::Stop(Fault::Idle(1))),
        1 => Just(VisitEvent::Told),
        1 => Just(SEALED),
    ]
}

fn rank(phase: &Phase) -> u8 {
    match phase {
        Phase::Waiting => 0,
        Phase::Open => 1,
        Phase::Ending(_) => 2,
        Phase::Over(_) => 3,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_events_leads_back_or_changes_a_reason(events in proptest::collection::vec(any_event(), 1..60), several in any::<bool>()) {
        let mut visit = VisitState::new(terms(several), NOW);
        for event in events {
            let before = visit.phase().clone();
            let time = if event == VisitEvent::TimeUp { 2 * LATER } else { LATER };
            let noted = visit.note(event, time);
            let now = visit.phase();
            prop_assert!(rank(&before) <= rank(now));
            prop_assert!(noted || before == *now);
            match (&before, now) {
                (Phase::Ending(why), Phase::Ending(still)) => prop_assert_eq!(why, still),
                (Phase::Ending(why), Phase::Over(outcome)) => prop_assert_eq!(why, &outcome.why),
                (Phase::Waiting | Phase::Open, Phase::Over(_)) => prop_assert!(false, "the record is closed while the visit goes on"),
                (Phase::Over(_), _) => prop_assert!(!noted),
                _ => {}
            }
            prop_assert_eq!(visit.since().is_some(), visit.since() == Some(LATER));
            prop_assert!(visit.deadline().is_none() || !matches!(now, Phase::Ending(_) | Phase::Over(_)));
        }
    }
}
