//! World files in a state store: one that a zone needs is kept before anything is stored that needs it.

use everhold_core::durability::rules_store::{RulesStore, WorldFile};
use everhold_core::durability::store::StoreError;

/// Keeps a world file, if it is not kept. Nothing is written if it is: the store may be full.
pub async fn keep_forgotten(rules: &dyn RulesStore, file: &WorldFile) -> Result<(), StoreError> {
    if rules.kept_files().await?.contains(&file.rules.id) {
        return Ok(());
    }
    rules.keep_file(file).await
}
