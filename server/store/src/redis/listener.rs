//! Hears of releases: a subscription that is kept for as long as the link's thread lives. Whenever it was interrupted,
//! its listeners are woken, for they may have missed a release.

use std::sync::{Arc, Weak};
use std::time::Duration;

use fred::clients::SubscriberClient;
use fred::error::Error;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::config::{Config, Server};
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;

use super::link::{Cluster, node};

/// Period at which it is checked whether the node that is listened to still belongs to the Cluster, which publishes a
/// release at every node.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Pause after a node that does not answer before the next one is tried.
const NEXT_AFTER: Duration = Duration::from_millis(50);

/// A subscription to releases, and what it wakes.
#[derive(Clone)]
pub(super) struct Listener {
    pub(super) timeout: Duration,
    pub(super) channel: String,
    pub(super) released: Arc<Notify>,
}

impl Listener {
    /// Listens at one server, or at the primary of a Sentinel group: the client finds it again by itself.
    pub(super) async fn listen(self, config: Config) -> Result<(), Error> {
        let client: SubscriberClient = node::builder(config, self.timeout).build_subscriber_client()?;
        let (mut messages, mut reconnects) = (client.message_rx(), client.reconnect_rx());
        let _connects_until_quit = client.init().await?;
        let _resubscribes = client.manage_subscriptions();
        client.subscribe(self.channel).await?;
        tokio::spawn(async move {
            loop {
                let heard = tokio::select! {
                    message = messages.recv() => message.map(drop),
                    reconnect = reconnects.recv() => reconnect.map(drop),
                };
                match heard {
                    // A receiver that lags has heard something.
                    Ok(()) | Err(RecvError::Lagged(_)) => self.released.notify_one(),
                    Err(RecvError::Closed) => return drop(client),
                }
            }
        });
        Ok(())
    }

    /// Listens at any node of a Cluster, and at the next one when that is gone.
    pub(super) async fn listen_in(self, cluster: Weak<Cluster>) {
        let mut turn = 0;
        loop {
            let Some((server, config)) = cluster.upgrade().and_then(|cluster| pick(&cluster, turn)) else {
                return;
            };
            turn += 1;
            if let Err(error) = self.listen_at(&cluster, &server, config).await {
                tracing::debug!(%server, %error, "no release is heard of from this node");
            }
            self.released.notify_one();
            tokio::time::sleep(NEXT_AFTER).await;
        }
    }

    /// Listens at one node until it is gone.
    async fn listen_at(&self, cluster: &Weak<Cluster>, server: &Server, config: Config) -> Result<(), Error> {
        let client: SubscriberClient = node::builder(config, self.timeout).build_subscriber_client()?;
        let mut messages = client.message_rx();
        let dialler = client.init().await?;
        let mut lost = client.error_rx();
        let outcome = match client.subscribe(&*self.channel).await {
            Ok(()) => {
                self.released.notify_one();
                loop {
                    tokio::select! {
                        message = messages.recv() => match message {
                            Ok(_) | Err(RecvError::Lagged(_)) => self.released.notify_one(),
                            Err(RecvError::Closed) => break Ok(()),
                        },
                        _ = lost.recv() => break Ok(()),
                        () = tokio::time::sleep(LOOK_EVERY) => {
                            let serves = cluster.upgrade().is_some_and(|c| c.servers().contains(server));
                            if !serves {
                                break Ok(());
                            }
                        }
                    }
                }
            }
            Err(error) => Err(error),
        };
        // It would go on connecting to a node that is gone; and while it dials it does not hear that it is to quit.
        tokio::spawn(async move {
            let _untold = client.quit().await;
            dialler.abort();
        });
        outcome
    }
}

fn pick(cluster: &Cluster, turn: usize) -> Option<(Server, Config)> {
    let servers = cluster.servers();
    let server = servers.get(turn % servers.len().max(1))?.clone();
    let config = cluster.config_of(&server);
    Some((server, config))
}
