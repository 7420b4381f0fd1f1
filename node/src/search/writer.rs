//! The one writer of the index.

use tantivy::indexer::{IndexWriterOptions, LogMergePolicy};
use tantivy::{Index, IndexWriter, TantivyDocument, TantivyError};

use super::schema::FieldSet;
use super::{Document, Search, SearchError, WRITER_BYTES};

/// Writes documents; they are found after [`Writer::commit`].
pub(crate) struct Writer {
    writer: IndexWriter<TantivyDocument>,
    fields: FieldSet,
    search: Search,
    /// What every commit says of the index: see `open`.
    payload: String,
    pending: usize,
}

impl Writer {
    pub(super) fn new(
        index: &Index,
        search: Search,
        fields: FieldSet,
        payload: String,
    ) -> Result<Self, SearchError> {
        let options = IndexWriterOptions::builder()
            .num_worker_threads(1)
            .num_merge_threads(1)
            .memory_budget_per_thread(WRITER_BYTES)
            .build();
        let writer = index.writer_with_options(options)?;
        writer.set_merge_policy(Box::new(LogMergePolicy::default()));
        Ok(Self { writer, fields, search, payload, pending: 0 })
    }

    /// Puts a document in the place of its earlier state, or removes that.
    pub(crate) fn put(&mut self, document: Document) -> Result<(), SearchError> {
        self.writer.delete_term(document.term(&self.fields));
        if let Some(document) = document.into_tantivy(&self.fields) {
            self.writer.add_document(document).map_err(|error| self.cause(error))?;
        }
        self.pending += 1;
        Ok(())
    }

    /// Why the index takes no document: what its thread died of is told by joining it only.
    fn cause(&mut self, error: TantivyError) -> SearchError {
        match self.writer.prepare_commit() {
            Err(cause) => cause.into(),
            Ok(_) => error.into(),
        }
    }

    /// Documents put since the last commit.
    pub(crate) const fn pending(&self) -> usize {
        self.pending
    }

    /// Removes everything.
    pub(crate) fn clear(&mut self) -> Result<(), SearchError> {
        self.writer.delete_all_documents()?;
        self.pending += 1;
        Ok(())
    }

    /// Makes everything that was put durable and found.
    pub(crate) fn commit(&mut self) -> Result<(), SearchError> {
        let mut prepared = self.writer.prepare_commit()?;
        prepared.set_payload(&self.payload);
        prepared.commit()?;
        self.search.reload()?;
        self.pending = 0;
        Ok(())
    }

    /// Waits until the index's own threads have ended.
    pub(crate) fn close(self) -> Result<(), SearchError> {
        Ok(self.writer.wait_merging_threads()?)
    }
}
