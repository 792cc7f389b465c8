//! Many commands at once: those to one node leave in one go, and their answers come in one round trip, however many
//! they are. One that fails holds up no other.

use std::collections::BTreeMap;
use std::sync::Arc;

use fred::types::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::cluster::Redirection;
use super::node::{Certainty, RedisNode};
use super::{Evaluation, LinkShared, Servers};
use crate::redis::RedisError;

/// Bound on the commands of one pipeline. All pipelines of a batch are sent at once; what is answered in time counts,
/// and of a batch that is too large for its time that is a part of the pipelines.
const PIPELINE_COMMANDS_MAX: usize = 256;

/// The outcome of one command.
pub(super) type Outcome = Result<Value, RedisError>;

/// A command of a batch: its place in it, and its words.
type Placed = (usize, Vec<Value>);

impl LinkShared {
    /// Runs a command or a script on many keys, each with its slot and words. Returns the outcomes in order; after an
    /// error one is unknown.
    pub(super) async fn run_many(
        self: Arc<Self>,
        what: Evaluation,
        commands: Vec<(u16, Vec<Value>)>,
        deadline: Instant,
    ) -> Vec<Outcome> {
        let mut outcomes: Vec<Option<Outcome>> = commands.iter().map(|_| None).collect();
        let mut pipelines = JoinSet::new();
        for (node, placed) in self.by_node(&commands, &mut outcomes) {
            for placed in placed.chunks(PIPELINE_COMMANDS_MAX) {
                pipelines.spawn(pipeline(Arc::clone(&node), what.clone(), placed.to_vec(), deadline));
            }
        }
        let mut elsewhere = JoinSet::new();
        while let Some(answered) = pipelines.join_next().await {
            for (index, outcome) in answered.into_iter().flatten() {
                if is_elsewhere(&outcome) {
                    let (shared, what, (slot, words)) = (Arc::clone(&self), what.clone(), commands[index].clone());
                    elsewhere.spawn(async move {
                        (
                            index,
                            shared.run_one(what, slot, words, Certainty::Primary, deadline).await,
                        )
                    });
                } else {
                    outcomes[index] = Some(outcome);
                }
            }
        }
        while let Some(answered) = elsewhere.join_next().await {
            if let Ok((index, outcome)) = answered {
                outcomes[index] = Some(outcome);
            }
        }
        let given_up = || Err(RedisError::Thread("a question was given up".to_owned()));
        outcomes
            .into_iter()
            .map(|outcome| outcome.unwrap_or_else(given_up))
            .collect()
    }

    /// Groups commands by the node that they go to. One that can go to none has its outcome at once.
    fn by_node(
        &self,
        commands: &[(u16, Vec<Value>)],
        outcomes: &mut [Option<Outcome>],
    ) -> Vec<(Arc<RedisNode>, Vec<Placed>)> {
        let mut nodes = Vec::new();
        match &self.servers {
            Servers::One(node) => {
                let placed = commands
                    .iter()
                    .enumerate()
                    .map(|(index, (_, words))| (index, words.clone()));
                nodes.push((Arc::clone(node), placed.collect()));
            }
            Servers::Cluster(cluster) => {
                let mut servers: BTreeMap<_, Vec<Placed>> = BTreeMap::new();
                for (index, (slot, words)) in commands.iter().enumerate() {
                    match cluster.server_of(*slot) {
                        Ok(server) => servers.entry(server).or_default().push((index, words.clone())),
                        Err(error) => outcomes[index] = Some(Err(error)),
                    }
                }
                for (server, placed) in servers {
                    match cluster.node(&server) {
                        Ok(node) => nodes.push((node, placed)),
                        Err(error) => {
                            for (index, _) in placed {
                                outcomes[index] = Some(Err(error.clone()));
                            }
                        }
                    }
                }
            }
        }
        nodes
    }
}

/// Sends commands to one node in one go. A script that the node does not know is sent once with its text; the node
/// knows it then.
async fn pipeline(
    node: Arc<RedisNode>,
    what: Evaluation,
    mut placed: Vec<Placed>,
    deadline: Instant,
) -> Vec<(usize, Outcome)> {
    node.ready(left(deadline)).await;
    let mut done = Vec::with_capacity(placed.len());
    let mut may_teach = true;
    loop {
        let words = placed.iter().map(|(_, words)| words.clone()).collect();
        let outcomes = node.send_many(what.name(), words, left(deadline)).await;
        let mut unknown = Vec::new();
        for ((index, words), outcome) in placed.into_iter().zip(outcomes) {
            if may_teach && Evaluation::is_unknown_script(&outcome) {
                unknown.push((index, words));
            } else {
                done.push((index, outcome));
            }
        }
        let Some((index, words)) = unknown.pop() else {
            return done;
        };
        let (name, words) = what.with_text(words);
        done.push((index, node.command(name, words, left(deadline)).await));
        if unknown.is_empty() {
            return done;
        }
        (placed, may_teach) = (unknown, false);
    }
}

fn left(deadline: Instant) -> std::time::Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// Whether the node said that it has done nothing, because the slot is not its own alone.
fn is_elsewhere(outcome: &Outcome) -> bool {
    match outcome {
        Err(RedisError::Command(error)) => Redirection::is_one(error.details()),
        _ => false,
    }
}
