//! The keeper drives the [`Holder`] of this process's leases. It has its own thread and runtime, so that neither
//! sockets nor a busy store can starve a renewal. It decides nothing: what happened goes into the holder, and what the
//! holder commands is carried out.

mod ask;
mod config;
mod drive;
mod handle;
mod hosted;
mod log;

use std::collections::BTreeMap;
use std::sync::Arc;

use everhold_core::durability::rules_store::RulesStore;
use everhold_core::durability::store::ZoneStore;
use everhold_core::ownership::Holder;
use everhold_core::ownership::holder::command::{HolderAnswer, Views};
use everhold_os::vital::Vital;
use everhold_protocol::ZoneName;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use self::ask::Asker;
pub use self::config::KeeperConfig;
use self::handle::KeeperOrder;
pub use self::handle::{Granted, KeeperEvent, KeeperEvents, KeeperHandle};
use self::hosted::HostedZone;
use crate::guardian::GuardianLink;
use crate::stores::Coordination;

/// Holds leases and contends for more.
pub struct Keeper {
    holder: Holder,
    asker: Arc<Asker>,
    answers: JoinSet<HolderAnswer>,
    hosted: BTreeMap<ZoneName, HostedZone>,
    guardian: GuardianLink,
    events: mpsc::UnboundedSender<KeeperEvent>,
    /// Hears what the authority shows, a few times a second.
    show: Box<dyn Fn(Views) + Send>,
    stopped: Option<oneshot::Sender<()>>,
    /// An order that was heard and waits for rest.
    put_off: Option<KeeperOrder>,
}

impl Keeper {
    /// Starts the keeper's thread. `show` is called on it with what the authority shows, and must not wait.
    pub fn start(
        (coordination, store, rules): (Coordination, Arc<dyn ZoneStore>, Arc<dyn RulesStore>),
        config: KeeperConfig,
        show: impl Fn(Views) + Send + 'static,
    ) -> std::io::Result<(KeeperHandle, KeeperEvents)> {
        let (handle, told, (orders, events)) = handle::channels();
        let KeeperConfig {
            mut holder,
            addr,
            guardian,
        } = config;
        holder.contender.may_forget = coordination.authority.may_forget();
        let asker = Asker {
            authority: coordination.authority,
            membership: coordination.membership,
            store,
            rules,
            me: holder.me,
            addr,
            keys: holder.keys.clone(),
            ttl: holder.lease.ttl,
        };
        let keeper = Self {
            holder: Holder::new(holder),
            asker: Arc::new(asker),
            answers: JoinSet::new(),
            hosted: BTreeMap::new(),
            guardian,
            events,
            show: Box::new(show),
            stopped: None,
            put_off: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new()
            .name("lease-keeper".to_owned())
            .spawn(move || {
                let _vital = Vital::new("lease keeper");
                runtime.block_on(keeper.run(orders));
            })?;
        Ok((handle, told))
    }
}
