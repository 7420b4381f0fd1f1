//! Fields of the index and how their text is cut into words.

use tantivy::Index;
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::{
    AsciiFoldingFilter, LowerCaser, RemoveLongFilter, SimpleTokenizer, TextAnalyzer,
};

/// Version of schema and analysis; a change makes a new index.
pub(super) const VERSION: u32 = 3;
/// Fast field by which equal scores are ordered, the newest first: days since 1970-01-01.
pub(super) const DATE: &str = "date";
/// Fast field by which equal dates are ordered: the first bytes of the record id.
pub(super) const TIE: &str = "tie";

const ANALYSER: &str = "words";
/// Longest word that is found.
const WORD_BYTES: usize = 64;

/// The fields.
#[derive(Clone, Debug)]
pub(super) struct FieldSet {
    /// What the document is about; one document each.
    pub(super) key: Field,
    /// Name of the kind.
    pub(super) kind: Field,
    pub(super) title: Field,
    /// Names of buyers and suppliers as given.
    pub(super) party: Field,
    /// Everything else that is searchable.
    pub(super) text: Field,
    /// CPV codes, each by all its beginnings from one digit on.
    pub(super) cpv: Field,
    /// Names of buyers, normalised.
    pub(super) buyer: Field,
    /// Identifiers of buyers, normalised.
    pub(super) buyer_id: Field,
    /// Names of suppliers, normalised.
    pub(super) supplier: Field,
    /// Identifiers of suppliers, normalised.
    pub(super) supplier_id: Field,
    /// First and last day, as days since 1970-01-01.
    pub(super) starts: Field,
    pub(super) ends: Field,
    /// Value in minor units of `currency`.
    pub(super) amount: Field,
    pub(super) currency: Field,
    pub(super) authority: Field,
    pub(super) is_reference: Field,
    pub(super) source_key: Field,
    pub(super) date: Field,
    pub(super) tie: Field,
    /// The [`super::Hit`], as JSON.
    pub(super) hit: Field,
}

/// The schema and its fields.
pub(super) fn schema() -> (Schema, FieldSet) {
    let words = TextOptions::default().set_indexing_options(
        TextFieldIndexing::default()
            .set_tokenizer(ANALYSER)
            .set_index_option(IndexRecordOption::Basic)
            .set_fieldnorms(false),
    );
    let mut schema = Schema::builder();
    let fields = FieldSet {
        key: schema.add_text_field("key", STRING),
        kind: schema.add_text_field("kind", STRING),
        title: schema.add_text_field("title", words.clone()),
        party: schema.add_text_field("party", words.clone()),
        text: schema.add_text_field("text", words.clone()),
        cpv: schema.add_text_field("cpv", STRING),
        buyer: schema.add_text_field("buyer", words.clone()),
        buyer_id: schema.add_text_field("buyer_id", STRING),
        supplier: schema.add_text_field("supplier", words),
        supplier_id: schema.add_text_field("supplier_id", STRING),
        starts: schema.add_i64_field("starts", FAST),
        ends: schema.add_i64_field("ends", FAST),
        amount: schema.add_i64_field("amount", FAST),
        currency: schema.add_text_field("currency", STRING),
        authority: schema.add_text_field("authority", STRING),
        is_reference: schema.add_bool_field("is_reference", INDEXED),
        source_key: schema.add_text_field("source_key", STRING),
        date: schema.add_i64_field(DATE, FAST),
        tie: schema.add_u64_field(TIE, FAST),
        hit: schema.add_bytes_field("hit", STORED),
    };
    (schema.build(), fields)
}

/// Makes the analysis known to an index.
pub(super) fn register(index: &Index) {
    index.tokenizers().register(ANALYSER, analyser());
}

fn analyser() -> TextAnalyzer {
    TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(RemoveLongFilter::limit(WORD_BYTES))
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .build()
}

/// A text as it goes into the index: an apostrophe does not end a word.
pub(super) fn joined(text: &str) -> String {
    text.replace(['\'', '’', '‘', '`'], "")
}

/// The words of a text as they stand in the index, at most `limit`.
pub(super) fn words(text: &str, limit: usize) -> Vec<String> {
    let text = joined(text);
    let mut analyser = analyser();
    let mut stream = analyser.token_stream(&text);
    let mut words = Vec::new();
    while words.len() < limit && stream.advance() {
        words.push(stream.token().text.clone());
    }
    words
}
