//! All text that PID 1 reads: the loader configuration, the manifest, the kernel command line, the list of modules, the
//! selector's decision, the table of mounts, key files.

use handoff::kernel_arguments::KernelArguments;
use handoff::loader_config::LoaderConfig;
use handoff::manifest::{FileKind, Manifest};
use handoff::selection::Selection;
use keys::identity::NodeIdentity;

/// Checks one input.
pub fn check(bytes: &[u8]) {
    for kind in ["opaque", "text", "hostname", "ssh-host-key"].map(FileKind::from_word).into_iter().flatten()
    {
        let _ = keys::kinds::check(kind, bytes);
    }
    let _ = NodeIdentity::parse(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(trust) = LoaderConfig::decode(text) {
        assert_eq!(LoaderConfig::decode(&trust.encode()).as_ref(), Ok(&trust));
    }
    if let Ok(manifest) = Manifest::decode(text) {
        assert_eq!(Manifest::decode(&manifest.encode()).as_ref(), Ok(&manifest));
    }
    if let Some(selection) = Selection::decode(text) {
        assert_eq!(Selection::decode(&selection.encode()).as_ref(), Some(&selection));
    }
    initloader::fuzzing::mount_table(text);
    initloader::fuzzing::modules(text);
    let arguments = KernelArguments::parse(text);
    for argument in &arguments {
        assert!(arguments.has(&argument.key), "what was read is found");
        let _ = (arguments.module_parameters(&argument.key), arguments.blacklists(&argument.key));
    }
}
