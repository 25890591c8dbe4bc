//! The receiver of events and spans: one line for each event, and one for the end of each span with its duration.

use crate::line::{Fields, Line, SpanFields};
use crate::{LogFormat, Print};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, Scope};

/// Makes lines and passes them on.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) format: LogFormat,
    pub(crate) print: Print,
}

/// What is stored with an open span.
struct Open {
    begun: Instant,
    fields: Fields,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Open { begun: Instant::now(), fields });
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(open) = span.extensions_mut().get_mut::<Open>()
        {
            values.record(&mut open.fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        self.print(&Line {
            time: since_1970(),
            level: *metadata.level(),
            target: metadata.target(),
            message: fields.take_message(),
            fields,
            spans: spans(context.event_scope(event)),
            took: None,
        });
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let took = span.extensions().get::<Open>().map(|open| open.begun.elapsed());
        let metadata = span.metadata();
        self.print(&Line {
            time: since_1970(),
            level: *metadata.level(),
            target: metadata.target(),
            message: "ended".into(),
            fields: Fields::default(),
            spans: spans(Some(span.scope())),
            took,
        });
    }
}

impl Lines {
    fn print(&self, line: &Line<'_>) {
        (self.print)(&match self.format {
            LogFormat::Text => line.to_text(),
            LogFormat::Json => line.to_json(),
        });
    }
}

/// The spans of a scope from the outermost to the innermost.
fn spans<'a, R: LookupSpan<'a>>(scope: Option<Scope<'a, R>>) -> Vec<SpanFields> {
    let scope = scope.into_iter().flat_map(Scope::from_root);
    scope
        .map(|span| {
            let fields = span.extensions().get::<Open>().map(|open| open.fields.clone());
            SpanFields { name: span.name(), fields: fields.unwrap_or_default() }
        })
        .collect()
}

#[expect(clippy::disallowed_methods, reason = "the time of a line of the log, which reaches no artefact")]
fn since_1970() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
