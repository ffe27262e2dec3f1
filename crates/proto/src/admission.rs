//! Who may be mid-authentication at a door, and who makes room when there are too many.
//!
//! sshd's `MaxStartups` turns newcomers away, so that a crowd which only stalls keeps the right visitor out. Here the newcomer always gets
//! in and somebody who has had their time makes room: from `start` on with a probability that rises from `rate` to certainty at `full`.
//! Nobody makes room for those who came just after them: only the older half of the crowd does, in it first whoever has a penalty, then
//! whoever's source holds the most places, then the oldest. So a visitor has the time of at least `start / 2` newcomers, in which a key
//! authenticates many times over; and a crowd from one address drives out itself.
//!
//! Penalties are a source's, as in sshd's `PerSourcePenalties`: an IPv4 address, or an IPv6 network of 64 bits. Where everybody comes
//! through one proxy, everybody has its address, the right visitor as well: a door for one visit therefore never refuses a source, and a
//! penalty only says who makes room first. Where there are many visitors for a long time ([`Settings::refuse`]), a source with a penalty
//! is refused, loopback excepted: who connects from this machine is a proxy, or needs no network to do harm.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::Duration;

/// Sources whose penalties are remembered; the one that was quiet for longest is forgotten first.
pub const SOURCES: usize = 4096;
/// A penalty below this has no effect: one mistake is nobody's attack (sshd's `min:15s`).
pub const PENALTY_MIN: Duration = Duration::from_secs(15);
/// The longest penalty (sshd's `max:600s`).
pub const PENALTY_MAX: Duration = Duration::from_secs(600);

/// Where a connection comes from, as far as penalties and shares go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// The first 64 bits of an IPv6 address: what one subscriber has.
    V6([u16; 4]),
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

/// `start:rate:full`, as sshd's `MaxStartups` writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Startups {
    /// Below so many connections nobody makes room.
    pub start: u32,
    /// From there on somebody does for so many newcomers of a hundred, …
    pub rate: u32,
    /// … rising to all of them here: there are never more.
    pub full: u32,
}

impl Startups {
    /// sshd begins at 10, since it refuses whom it has no room for; here somebody waits for a passphrase to be typed, perhaps, and is
    /// undisturbed by 50 others. 100 connections in mid-handshake are some 20 MB.
    pub const DEFAULT: Self = Self { start: 50, rate: 30, full: 100 };

    /// For how many newcomers of a hundred somebody makes room, with so many connections waiting.
    pub fn percent(self, waiting: usize) -> u32 {
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        if waiting < self.start {
            return 0;
        }
        if waiting >= self.full {
            return 100;
        }
        // start ≤ waiting < full, so that nothing here is below zero.
        self.rate + (100 - self.rate) * (waiting - self.start) / (self.full - self.start)
    }
}

impl FromStr for Startups {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Option<Vec<u32>> = text.split(':').map(|number| number.parse().ok()).collect();
        match numbers.as_deref() {
            Some(&[start, rate, full]) if (1..=full).contains(&start) && rate <= 100 && full <= 100_000 => Ok(Self { start, rate, full }),
            _ => Err(format!("'{text}' is not start:rate:full, as 50:30:100")),
        }
    }
}

impl fmt::Display for Startups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.start, self.rate, self.full)
    }
}

/// How a door admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many at once.
    pub startups: Startups,
    /// Whether a source with a penalty is refused, loopback excepted. For a door with many visitors; never where one visitor must get in.
    pub refuse: bool,
}

impl Settings {
    /// For one visit.
    pub const ONE_VISIT: Self = Self { startups: Startups::DEFAULT, refuse: false };
    /// For many visitors, for a long time.
    pub const MANY_VISITS: Self = Self { startups: Startups::DEFAULT, refuse: true };
}

/// One connection's place; the numbers rise in the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(u64);

/// What becomes of a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It has a place. Whoever is named has to go, and has no place any more.
    Admitted {
        /// The newcomer's.
        ticket: Ticket,
        /// Who makes room.
        makes_room: Option<Ticket>,
    },
    /// Its source has a penalty for so long.
    Refused {
        /// What is left of it.
        remaining: Duration,
    },
}

/// How the time before authentication ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Somebody is in: the source's penalty is forgiven.
    Authenticated,
    /// It left, and had asked for nothing (sshd's `noauth`).
    Left,
    /// It left, and what it had asked for was refused (`authfail`).
    Denied,
    /// It used up its time (`grace-exceeded`).
    TooLate,
    /// What it sent was no SSH, or a violation of it.
    Garbage,
}

impl Outcome {
    /// sshd's own measures; garbage, which sshd counts with those who leave, is no stock client's.
    fn penalty(self) -> Duration {
        Duration::from_secs(match self {
            Self::Authenticated => 0,
            Self::Left => 1,
            Self::Denied => 5,
            Self::TooLate | Self::Garbage => 10,
        })
    }
}

/// The state of a door's admission. Instants are durations since any fixed moment of a clock that never goes back.
#[derive(Clone, Debug)]
pub struct Admission {
    settings: Settings,
    waiting: BTreeMap<Ticket, Source>,
    penalties: Penalties,
    next: u64,
}

impl Admission {
    /// Nobody is there yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, waiting: BTreeMap::new(), penalties: Penalties::default(), next: 0 }
    }

    /// How many are mid-authentication.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Somebody connects. `roll`: a random number below 100.
    pub fn arrive(&mut self, peer: IpAddr, now: Duration, roll: u32) -> Arrival {
        let source = Source::from(peer);
        let exempt = peer.to_canonical().is_loopback();
        if let Some(remaining) = self.penalties.of(source, now).filter(|_| self.settings.refuse && !exempt) {
            return Arrival::Refused { remaining };
        }
        let crowded = roll < self.settings.startups.percent(self.waiting.len());
        let makes_room = if crowded { self.make_room(now) } else { None };
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting.insert(ticket, source);
        Arrival::Admitted { ticket, makes_room }
    }

    /// Takes somebody's place, where there is anybody: also for want of something else, as descriptors.
    pub fn make_room(&mut self, now: Duration) -> Option<Ticket> {
        let mut places: HashMap<Source, usize> = HashMap::new();
        for source in self.waiting.values() {
            *places.entry(*source).or_default() += 1;
        }
        let older = self.waiting.iter().take(self.waiting.len().div_ceil(2));
        let first = older.max_by_key(|(ticket, source)| {
            let held = places.get(source).copied().unwrap_or_default();
            (self.penalties.of(**source, now).is_some(), held, Reverse(**ticket))
        });
        let ticket = first.map(|(ticket, _)| *ticket)?;
        self.waiting.remove(&ticket);
        Some(ticket)
    }

    /// A connection's authentication is over, one way or the other. Who has made room before has not failed at anything.
    pub fn settle(&mut self, ticket: Ticket, outcome: Outcome, now: Duration) {
        let Some(source) = self.waiting.remove(&ticket) else { return };
        match outcome {
            Outcome::Authenticated => self.penalties.forgive(source),
            failure => self.penalties.add(source, failure.penalty(), now),
        }
    }
}

/// What sources have coming to them.
#[derive(Clone, Debug, Default)]
struct Penalties {
    until: HashMap<Source, (Duration, u64)>,
    /// The sources by their last misdeed, oldest first.
    order: BTreeMap<u64, Source>,
    next: u64,
}

impl Penalties {
    /// What is left of a source's penalty, where it is long enough to count.
    fn of(&self, source: Source, now: Duration) -> Option<Duration> {
        let (until, _) = self.until.get(&source)?;
        until.checked_sub(now).filter(|remaining| *remaining >= PENALTY_MIN)
    }

    fn add(&mut self, source: Source, penalty: Duration, now: Duration) {
        let before = self.until.get(&source).map_or(now, |(until, _)| (*until).max(now));
        self.forgive(source);
        if self.until.len() >= SOURCES
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.until.remove(&oldest);
        }
        self.until.insert(source, ((before + penalty).min(now + PENALTY_MAX), self.next));
        self.order.insert(self.next, source);
        self.next += 1;
    }

    fn forgive(&mut self, source: Source) {
        if let Some((_, place)) = self.until.remove(&source) {
            self.order.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    fn admitted(arrival: Arrival) -> (Ticket, Option<Ticket>) {
        match arrival {
            Arrival::Admitted { ticket, makes_room } => (ticket, makes_room),
            Arrival::Refused { remaining } => panic!("refused for {remaining:?}"),
        }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn room_is_made_as_max_startups_says() {
        let startups: Startups = "10:30:100".parse().unwrap();
        assert_eq!([9, 10, 55, 99, 100, 1000].map(|waiting| startups.percent(waiting)), [0, 30, 65, 99, 100, 100]);
        assert_eq!(startups.to_string(), "10:30:100");
        for nonsense in ["", "10", "10:30", "0:30:100", "10:101:100", "10:30:9", "10:30:100:1", "a:b:c", "1:1:4000000000"] {
            assert!(nonsense.parse::<Startups>().is_err(), "{nonsense}");
        }
    }

    #[test]
    fn a_silent_crowd_keeps_nobody_out() {
        let mut admission = Admission::new(Settings::ONE_VISIT);
        for _ in 0..1000 {
            admission.arrive(address("192.0.2.1"), NOW, 0);
        }
        let (visitor, _) = admitted(admission.arrive(address("192.0.2.1"), NOW, 0));
        for _ in 0..Startups::DEFAULT.start / 2 {
            assert_ne!(admitted(admission.arrive(address("192.0.2.1"), NOW, 0)).1, Some(visitor));
        }
    }

    #[test]
    fn a_crowd_from_one_address_drives_out_itself() {
        let mut admission = Admission::new(Settings::ONE_VISIT);
        let (visitor, _) = admitted(admission.arrive(address("2001:db8::7"), NOW, 0));
        for host in 0..1000u16 {
            let crowd = IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, host]);
            assert_ne!(admitted(admission.arrive(crowd, NOW, 0)).1, Some(visitor), "one network of 64 bits is one source");
        }
    }

    #[test]
    fn misdeeds_add_up_and_are_forgiven() {
        let mut admission = Admission::new(Settings::MANY_VISITS);
        let bad = address("::ffff:192.0.2.1");
        let once = |admission: &mut Admission, outcome, now| {
            let (ticket, _) = admitted(admission.arrive(bad, now, 99));
            admission.settle(ticket, outcome, now);
        };
        once(&mut admission, Outcome::Denied, NOW);
        once(&mut admission, Outcome::Denied, NOW);
        once(&mut admission, Outcome::TooLate, NOW);
        let refused = Arrival::Refused { remaining: Duration::from_secs(20) };
        assert_eq!(admission.arrive(address("192.0.2.1"), NOW, 99), refused, "the same address, whatever it is written like");
        admitted(admission.arrive(address("192.0.2.2"), NOW, 99));
        let later = NOW + Duration::from_secs(6);
        once(&mut admission, Outcome::Authenticated, later);
        once(&mut admission, Outcome::Garbage, later);
        admitted(admission.arrive(bad, later, 99));
    }

    #[test]
    fn who_made_room_has_not_failed() {
        let mut admission = Admission::new(Settings::MANY_VISITS);
        let (ticket, _) = admitted(admission.arrive(address("192.0.2.1"), NOW, 99));
        for _ in 0..2 {
            assert!(admission.make_room(NOW).is_none_or(|gone| gone == ticket));
            for _ in 0..10 {
                admission.settle(ticket, Outcome::Garbage, NOW);
            }
        }
        admitted(admission.arrive(address("192.0.2.1"), NOW, 99));
    }

    #[test]
    fn loopback_is_never_refused_and_one_visit_refuses_nobody() {
        for (peer, settings) in [("127.0.0.9", Settings::MANY_VISITS), ("::1", Settings::MANY_VISITS), ("192.0.2.1", Settings::ONE_VISIT)] {
            let mut admission = Admission::new(settings);
            for _ in 0..1000 {
                let (ticket, _) = admitted(admission.arrive(address(peer), NOW, 99));
                admission.settle(ticket, Outcome::Garbage, NOW);
            }
            admitted(admission.arrive(address(peer), NOW, 99));
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Arrive { peer: u16, roll: u32 },
        Settle { which: usize, outcome: Outcome },
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let outcome = prop_oneof![
            Just(Outcome::Authenticated),
            Just(Outcome::Left),
            Just(Outcome::Denied),
            Just(Outcome::TooLate),
            Just(Outcome::Garbage)
        ];
        prop_oneof![
            8 => (any::<u16>(), 0..100u32).prop_map(|(peer, roll)| Step::Arrive { peer: peer % 300, roll }),
            4 => (any::<usize>(), outcome).prop_map(|(which, outcome)| Step::Settle { which, outcome }),
            1 => (0..100u64).prop_map(Step::Wait),
        ]
    }

    proptest! {
        #[test]
        fn bounds_hold_whatever_happens(steps in proptest::collection::vec(step(), 0..400), refuse: bool) {
            let startups = Startups { start: 10, rate: 30, full: 20 };
            let mut admission = Admission::new(Settings { startups, refuse });
            let (mut now, mut inside) = (NOW, Vec::<Ticket>::new());
            for step in steps {
                match step {
                    Step::Wait(seconds) => now += Duration::from_secs(seconds),
                    Step::Settle { which, outcome } if !inside.is_empty() => {
                        let ticket = inside.remove(which % inside.len());
                        admission.settle(ticket, outcome, now);
                    }
                    Step::Settle { .. } => {}
                    Step::Arrive { peer, roll } => {
                        let [high, low] = peer.to_be_bytes();
                        match admission.arrive(IpAddr::from([10, 0, high, low]), now, roll) {
                            Arrival::Refused { remaining } => {
                                prop_assert!(refuse && (PENALTY_MIN..=PENALTY_MAX).contains(&remaining));
                            }
                            Arrival::Admitted { ticket, makes_room } => {
                                if let Some(gone) = makes_room {
                                    prop_assert!(inside.len() >= 10, "below start nobody makes room");
                                    let younger = inside.iter().filter(|other| **other > gone).count();
                                    prop_assert!(younger >= 5, "only for who came well after");
                                    inside.retain(|other| *other != gone);
                                }
                                inside.push(ticket);
                            }
                        }
                    }
                }
                prop_assert!(admission.waiting() <= 20);
                prop_assert_eq!(admission.waiting(), inside.len());
            }
        }

        #[test]
        fn penalties_are_bounded_in_number_and_length(misdeeds in 0..600u32, seconds in 0..2000u64) {
            let mut penalties = Penalties::default();
            let source = Source::from(address("192.0.2.1"));
            for _ in 0..misdeeds {
                penalties.add(source, Outcome::Garbage.penalty(), NOW);
            }
            let left = penalties.of(source, NOW + Duration::from_secs(seconds));
            prop_assert!(left.is_none_or(|left| left + Duration::from_secs(seconds) <= PENALTY_MAX));
            prop_assert!(left.is_none() || u64::from(misdeeds) * 10 >= seconds + 15);
        }
    }

    #[test]
    fn of_too_many_sources_the_quietest_is_forgotten() {
        let mut penalties = Penalties::default();
        let source = |number: u32| Source::from(IpAddr::from(Ipv4Addr::from(number)));
        for number in 0..10_000 {
            penalties.add(source(number), PENALTY_MIN, NOW);
            penalties.add(source(0), PENALTY_MIN, NOW);
            assert!(penalties.until.len() <= SOURCES && penalties.until.len() == penalties.order.len());
        }
        assert!(penalties.of(source(0), NOW).is_some() && penalties.of(source(1), NOW).is_none());
        assert!(penalties.of(source(9_999), NOW).is_some());
    }
}
