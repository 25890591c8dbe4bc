//! Symbolic links on the way to a path. They never lead above the top of the tree.

use super::{Inode, LayeredTree, TreeError, What};
use std::sync::Arc;

/// More links than this in one path count as a loop (as `MAXSYMLINKS` of Linux).
const MOST_LINKS: usize = 40;

impl LayeredTree {
    /// `path` without `.` and doubled slashes, and with the links above its last part followed.
    pub(super) fn locate(&self, path: &str) -> Result<String, TreeError> {
        let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let Some(name) = parts.pop() else { return Ok(String::new()) };
        if name == ".." {
            return Err(TreeError::BadPath { path: path.to_owned() });
        }
        let folder = self.follow(&parts.join("/"))?;
        Ok(if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") })
    }

    /// `path` with all links followed, including one at its end. Links never lead above the top.
    pub(super) fn follow(&self, path: &str) -> Result<String, TreeError> {
        self.follow_over(path, &mut |_, _| ())
    }

    /// A link on `path`, including one at its end, that the current layer added.
    pub(super) fn own_link_on(&self, path: &str) -> Option<String> {
        let mut found = None;
        let mut look = |link: &str, inode: &Inode| {
            if Arc::ptr_eq(&inode.layer, &self.layer) {
                found.get_or_insert_with(|| link.to_owned());
            }
        };
        // A loop is reported as an error where the path is used.
        let _ = self.follow_over(path, &mut look);
        found
    }

    fn follow_over(&self, path: &str, each_link: &mut dyn FnMut(&str, &Inode)) -> Result<String, TreeError> {
        let mut done: Vec<String> = Vec::new();
        let mut todo: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    done.pop();
                    continue;
                }
                _ => done.push(part),
            }
            let here = done.join("/");
            let Some(inode) = self.inode(&here) else { continue };
            let What::Symlink(target) = &inode.what else { continue };
            each_link(&here, inode);
            links += 1;
            if links > MOST_LINKS {
                return Err(TreeError::LinkLoop { path: path.to_owned() });
            }
            done.pop();
            if target.starts_with('/') {
                done.clear();
            }
            todo.extend(target.split('/').rev().map(str::to_owned));
        }
        Ok(done.join("/"))
    }
}
