//! The error with which a command ends: it says what failed, and has the exit code of its class (sysexits(3)).
//!
//! Each module has its own error type. This file only has what the command line needs to know of all of them: their
//! class, and one line of advice if the message itself does not say what to do.
//!
//! A message is one line, whatever names are in it: line ends are escaped here, for all error types. Texts of several
//! lines are [`Details`].

use crate::details::Details;
use handoff::shown::Shown;
use serde_json::{Value, json};
use std::fmt;
use std::io;

/// The kind of failure that ended a command; each has its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Any failure without a class of its own.
    Failure,
    /// A site file, key, seal or image with wrong content (`EX_DATAERR`).
    BadContent,
    /// A node or file that the user named does not exist (`EX_NOINPUT`).
    MissingInput,
    /// A program of the host is missing, or the network or archive is out of reach (`EX_UNAVAILABLE`).
    Unavailable,
    /// The output cannot be created, or the disk is full (`EX_CANTCREAT`).
    CannotCreate,
    /// Reading or writing failed midway (`EX_IOERR`).
    Io,
    /// Refused, because going on could destroy something (`EX_NOPERM`).
    Refused,
}

impl Class {
    /// The exit code of this class (sysexits(3)).
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failure => 1,
            Self::BadContent => 65,
            Self::MissingInput => 66,
            Self::Unavailable => 69,
            Self::CannotCreate => 73,
            Self::Io => 74,
            Self::Refused => 77,
        }
    }

    /// The class of an error that occurred while an input was read.
    #[must_use]
    pub fn of_reading(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Self::MissingInput,
            // The bytes were read, but are not valid, for example because a size is over its limit.
            io::ErrorKind::InvalidData => Self::BadContent,
            _ => Self::Io,
        }
    }

    /// The class of an error that occurred while an output was written.
    #[must_use]
    pub fn of_writing(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::ReadOnlyFilesystem => Self::CannotCreate,
            _ => Self::Io,
        }
    }
}

/// Which error is inside another one. Only `#[derive(classified::Cause)]` implements this, so that no variant is
/// forgotten.
pub trait Cause {
    /// The first field of the variant that is itself a classified error.
    fn classified_cause(&self) -> Option<&dyn Classified>;
}

/// An error that knows its class. Every error type of this crate implements this.
///
/// A type only states what differs from its cause; the rest is taken from its cause.
pub trait Classified: Cause + std::error::Error + Send + Sync + 'static {
    /// The kind of failure; `None` if the cause decides.
    fn own_class(&self) -> Option<Class>;

    /// The exit code, if it is not that of the class.
    fn own_exit_code(&self) -> Option<u8> {
        None
    }

    /// What the user can do, in one line, if neither the message nor the cause says it.
    fn own_advice(&self) -> Option<String> {
        None
    }

    /// The kind of failure.
    fn class(&self) -> Class {
        self.own_class().or_else(|| Some(self.classified_cause()?.class())).unwrap_or(Class::Failure)
    }

    /// The exit code of the command.
    fn exit_code(&self) -> u8 {
        match (self.own_exit_code(), self.own_class(), self.classified_cause()) {
            (Some(code), _, _) => code,
            (None, None, Some(cause)) => cause.exit_code(),
            _ => self.class().exit_code(),
        }
    }

    /// What the user can do, from this error or its cause.
    fn advice(&self) -> Option<String> {
        self.own_advice().or_else(|| self.classified_cause()?.advice())
    }
}

impl<E: Classified> Cause for Box<E> {
    fn classified_cause(&self) -> Option<&dyn Classified> {
        Some(&**self)
    }
}

impl<E: Classified> Classified for Box<E> {
    fn own_class(&self) -> Option<Class> {
        None
    }
}

/// A field of an error, in the derived code: finds out whether the field is a classified error.
pub(crate) struct Field<'a, T>(pub(crate) &'a T);

impl<'a, E: Classified> Field<'a, E> {
    #[expect(clippy::unnecessary_wraps, reason = "the method of other types, in NotClassified, returns none")]
    pub(crate) fn classified(&self) -> Option<&'a dyn Classified> {
        Some(self.0)
    }
}

/// What [`Field`] returns for any other type: a method of the type itself has precedence over one of a trait.
pub(crate) trait NotClassified<'a> {
    fn classified(&self) -> Option<&'a dyn Classified> {
        None
    }
}

impl<'a, T> NotClassified<'a> for Field<'a, T> {}

/// Any error of this crate, on its way to the only place that prints it.
pub struct Error(Box<dyn Classified>);

impl Error {
    /// The kind of failure.
    #[must_use]
    pub fn class(&self) -> Class {
        self.0.class()
    }

    /// The exit code of the command.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.0.exit_code()
    }

    /// What the user can do, from this error or its cause.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        self.0.advice()
    }

    /// The error and its causes, in one line.
    #[must_use]
    pub fn message(&self) -> String {
        Shown(chain(self.0.as_ref())).to_string()
    }

    /// The details of the error, each line after the prefix of [`crate::details`].
    #[must_use]
    pub fn details(&self) -> Option<String> {
        let details: Vec<String> = self.all_details().into_iter().map(Details::marked).collect();
        (!details.is_empty()).then(|| details.join("\n"))
    }

    /// The error as JSON: the message in one line, the lines of the details unchanged, and the advice.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let details = self.all_details();
        let lines: Vec<&str> = details.iter().flat_map(|details| details.trim_end().lines()).collect();
        json!({
            "error": self.message(), "details": lines, "advice": self.advice(), "exit_code": self.exit_code(),
        })
    }

    /// The details of the error and of the classified errors in it, whose message may be quoted instead of being a
    /// source.
    fn all_details(&self) -> Vec<&Details> {
        std::iter::successors(Some(self.0.as_ref()), |error| error.classified_cause())
            .find_map(|error| sources(error).find_map(|source| source.downcast_ref::<Details>()))
            .into_iter()
            .filter(|details| !details.trim().is_empty() && !details.are_in_message())
            .collect()
    }

    /// The printed text: the message, the details, and the advice on its own, indented line.
    #[must_use]
    pub fn report(&self) -> String {
        let mut text = self.message();
        if let Some(details) = self.details() {
            text.push('\n');
            text.push_str(&details);
        }
        if let Some(advice) = self.advice() {
            text.push_str(&format!("\n  {}", Shown(advice)));
        }
        text
    }
}

/// The message of an error and those of its sources, in one line. Texts are not compared: a message that quotes another
/// error must not have it as its source too, and a field for that is named `r#source`.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    for source in sources(error).filter(|source| !source.is::<Details>()) {
        text.push_str(&format!(": {source}"));
    }
    text
}

fn sources<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |source| source.source())
}

impl<E: Classified> From<E> for Error {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error, classified::Cause)]
    #[error("cannot read the thing")]
    struct Example(#[source] io::Error);

    impl Classified for Example {
        fn own_class(&self) -> Option<Class> {
            Some(Class::of_reading(&self.0))
        }

        fn own_advice(&self) -> Option<String> {
            Some("make one".into())
        }
    }

    #[test]
    fn a_report_has_cause_and_advice() {
        let error = Error::from(Example(io::Error::new(io::ErrorKind::NotFound, "gone")));
        assert_eq!(error.report(), "cannot read the thing: gone\n  make one");
        assert_eq!(error.class(), Class::MissingInput);
        assert_eq!(error.class().exit_code(), 66);
    }

    #[test]
    fn a_source_is_printed_whatever_words_the_message_has() {
        let error = Error::from(Example(io::Error::other("read the thing")));
        assert_eq!(error.message(), "cannot read the thing: read the thing");
    }

    #[derive(Debug, thiserror::Error, classified::Cause)]
    #[error("the tool failed: {0}")]
    struct Failed(#[source] Details);

    impl Classified for Failed {
        fn own_class(&self) -> Option<Class> {
            Some(Class::Failure)
        }
    }

    /// An error through which the details of the tool must be found.
    #[derive(Debug, thiserror::Error, classified::Cause)]
    enum Outer {
        #[error("cannot read {0}: {1}")]
        Named(String, Failed),
        #[error(transparent)]
        Transparent(Failed),
    }

    impl Classified for Outer {
        fn own_class(&self) -> Option<Class> {
            Some(Class::Failure)
        }

        fn own_advice(&self) -> Option<String> {
            Some("look at\nerror: advice\u{9b}2J".into())
        }
    }

    #[test]
    fn a_name_or_a_tool_cannot_forge_a_line_of_a_report() {
        let failed = || Failed(Details::new("one\nerror: forged\u{1b}[2J\n  a node is whole"));
        let name = "x\nerror: forged\r\u{202e}".to_owned();
        assert_eq!(
            Error::from(Outer::Named(name, failed())).report(),
            "cannot read x\\nerror: forged\\r\\u202e: the tool failed: a node is whole\n  | one\n  | error: \
             forged\\u001b[2J\n  |   a node is whole\n  look at\\nerror: advice\\u009b2J"
        );
        let transparent = Error::from(Outer::Transparent(failed()));
        assert_eq!(transparent.message(), "the tool failed: a node is whole");
        assert_eq!(transparent.details().unwrap().lines().count(), 3);
        let short = Error::from(Outer::Transparent(Failed(Details::new("no such luck\n"))));
        assert_eq!((short.message().as_str(), short.details()), ("the tool failed: no such luck", None));
    }

    #[test]
    fn in_json_a_message_is_one_line_and_its_details_are_a_list() {
        let failed = Failed(Details::new("one\nerror: forged\u{1b}[2J\r\n\n"));
        let json = Error::from(Outer::Named("x\ny".into(), failed)).to_json();
        assert_eq!(json["error"], "cannot read x\\ny: the tool failed: error: forged\\u001b[2J");
        assert_eq!(json["details"], json!(["one", "error: forged\u{1b}[2J"]));
        assert_eq!(
            (&json["advice"], &json["exit_code"]),
            (&json!("look at\nerror: advice\u{9b}2J"), &json!(1))
        );
        let plain = Error::from(Example(io::Error::new(io::ErrorKind::NotFound, "gone"))).to_json();
        assert_eq!((&plain["error"], &plain["details"]), (&json!("cannot read the thing: gone"), &json!([])));
    }

    /// An error type whose variants contain an error with advice in different ways.
    #[derive(Debug, thiserror::Error, classified::Cause)]
    enum Wrapper {
        #[error(transparent)]
        Transparent(Example),
        #[error("boxed")]
        Boxed(#[source] Box<Example>),
        #[error("named, for {node}")]
        Named { node: &'static str, source: Example },
        #[error("of its own class: {0}")]
        OwnClass(Example),
        #[error("with an error of another kind")]
        Other(io::Error),
        #[error("empty")]
        Empty,
    }

    impl Classified for Wrapper {
        fn own_class(&self) -> Option<Class> {
            matches!(self, Self::OwnClass(_)).then_some(Class::Refused)
        }
    }

    #[test]
    fn no_variant_loses_the_class_and_the_advice_of_the_error_in_it() {
        let example = || Example(io::ErrorKind::NotFound.into());
        for wrapper in [
            Wrapper::Transparent(example()),
            Wrapper::Boxed(Box::new(example())),
            Wrapper::Named { node: "demo", source: example() },
        ] {
            assert_eq!((wrapper.class(), wrapper.exit_code()), (Class::MissingInput, 66), "{wrapper:?}");
            assert_eq!(wrapper.advice().as_deref(), Some("make one"), "{wrapper:?}");
        }
        let own = Wrapper::OwnClass(example());
        assert_eq!((own.exit_code(), own.advice().as_deref()), (77, Some("make one")));
        for none in [Wrapper::Other(io::ErrorKind::NotFound.into()), Wrapper::Empty] {
            assert_eq!((none.class(), none.advice()), (Class::Failure, None));
        }
    }

    #[test]
    fn a_full_disk_is_not_bad_input() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(Class::of_writing(&full), Class::CannotCreate);
        assert_eq!(Class::of_writing(&io::Error::from(io::ErrorKind::BrokenPipe)), Class::Io);
    }
}
