//! Ownership decides whether this process may act for a zone. It reads no clock and talks to no authority itself.

pub mod grant;
pub mod stamp;
pub mod rules_stamp;
pub mod owner_mark;
pub mod fingerprint;
pub mod lease;
pub mod authority;
pub mod steps;
pub mod membership;
pub mod contender;
pub mod settlement;
pub mod census;
pub mod vacancy;
pub mod key_check;
pub mod entry;
pub mod guardian;
pub mod end;
pub mod after;
pub mod holder;

pub use after::{AdoptionFailure, After, Remains};
pub use authority::{Authority, AuthorityError, LeaseTerms, LeaseView, Leases, Renewal};
pub use census::Census;
pub use contender::{Contender, ContenderConfig};
pub use end::EndReason;
pub use entry::{Entry, EntryCommand};
pub use fingerprint::{Fingerprint, KeyFingerprints, KeyKind};
pub use grant::{Grant, Nonce, Tenure};
pub use guardian::{Guardian, Holdings, KillReason, ReleaseAnswer, ServerEnd};
pub use holder::{Holder, HolderConfig};
pub use lease::{Lease, LeaseConfig, LeaseState, SharedLease};
pub use membership::{Membership, ShardView};
pub use owner_mark::{OwnerMark, RulesTag};
pub use rules_stamp::{RulesId, RulesRefusal, RulesStamp};
pub use stamp::DataStamp;
pub use steps::AdoptionSteps;
pub use vacancy::{Vacancy, VacancyNews};
