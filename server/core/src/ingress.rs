//! Ingress turns clients' messages into inputs of a tick. It opens no socket and reads no clock.

pub mod input;
pub mod rate;
pub mod refusal;
pub mod address;
pub mod credential;
pub mod login;
pub mod news;
pub mod inbox;

pub use address::{AddressLimits, AddressVerdict, Addresses};
pub use credential::ResumeKeys;
pub use inbox::{Inbox, InboxEntry};
pub use input::{AttachToken, Birth, Input, Join, Lodge, Resume, SecretHash};
pub use login::{Login, ResumeClaim};
pub use news::NewsFilter;
pub use rate::TokenBucket;
pub use refusal::Refusal;
