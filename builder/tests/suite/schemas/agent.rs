//! The agent's outputs match their schemas.

use super::{AGENT_WORDS, check, full_report, schemas, validator};
use agent::seal::install::Outcome;
use anyhow::{Context as _, Result, ensure};
use clap::Parser as _;
use handoff::last_failure::LastFailure;
use handoff::report::BootReport;
use handoff::slot::Slot;
use keys::seal::header::Generation;
use medium::seal_slots::Installed;
use serde_json::Value;
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn the_agents_output_about_an_installed_seal_matches_its_schema() -> Result<()> {
    let generation = |number| Generation::new(number).context("no generation");
    for installed in [
        Installed::Written { slot: Slot::B, replaced: Some(generation(1)?) },
        Installed::Written { slot: Slot::A, replaced: None },
        Installed::AlreadyThere(Slot::B),
    ] {
        let printed = agent::cli::seal_install_to_json(&Outcome { generation: generation(2)?, installed });
        check("psyops-agent-seal-install", &serde_json::from_str(&printed)?)?;
    }
    Ok(())
}

/// A root with all files that `psyops-agent status` reads.
fn root_of_a_node(root: &Path) -> Result<()> {
    use agent::status::{Ending, RoleStatus, StageStatus, Status};
    use agent::syslog::{Dropped, Drops, PauseState, Places, Stage};
    use handoff::paths;
    let root = agent::root::Root::new(root);
    fs::create_dir_all(root.at(paths::RUN))?;
    fs::write(root.at(paths::BOOT_REPORT), full_report().to_json())?;
    let mut failed = RoleStatus::command("motd", Ending::Failed, Some(1), 3, Some("exit status 1".into()));
    failed.changed.push("/etc/motd".into());
    let mut stage = StageStatus::started(handoff::role_settings::Stage::Configure, 1, 2);
    stage.roles = vec![RoleStatus::done("files", "overlay", &[], 5), failed];
    stage.end(9);
    let mut status = Status { mark_good: Some("slot a is marked good".into()), ..Status::default() };
    status.set(stage);
    status.save(&root)?;
    let dropped = Dropped { messages: 2, bytes: 15 };
    let drops = Drops { users: [(65_534, dropped)].into(), ..Drops::default() };
    let pause = PauseState { format: 1, stage: Stage::Ended, replayed: 7, cut: 0, dropped: 2, drops };
    fs::write(Places::state(&root), serde_json::to_vec(&pause)?)?;
    let failure = LastFailure { slot: Some(Slot::B), step: "root".into(), ..LastFailure::default() };
    fs::write(root.at(paths::LAST_FAILURE), failure.to_json())?;
    Ok(())
}

/// The output of the agent: this test is run again in a process whose root is this folder.
fn agent_prints(root: &Path, words: &[&str]) -> Result<Value> {
    let root = root.to_str().context("a folder whose name is not text")?;
    let words: Vec<&str> =
        ["psyops-agent", "--root", root].into_iter().chain(words.iter().copied()).collect();
    let output = Command::new(env::current_exe()?)
        .args(["--exact", "schemas::agent::the_agents_output_matches_its_schemas", "--nocapture"])
        .env(AGENT_WORDS, words.join("\n"))
        .output()?;
    let printed = String::from_utf8(output.stdout)?;
    let (_, json) = printed.split_once('{').with_context(|| format!("no JSON in {printed:?}"))?;
    let json = format!("{{{json}");
    let mut values = serde_json::Deserializer::from_str(&json).into_iter();
    Ok(values.next().context("nothing was printed")??)
}

#[test]
fn the_agents_output_matches_its_schemas() -> Result<()> {
    if let Ok(words) = env::var(AGENT_WORDS) {
        let _ = agent::cli::run(agent::cli::Arguments::parse_from(words.lines()));
        return Ok(());
    }
    let root = tempfile::tempdir()?;
    root_of_a_node(root.path())?;
    let status = agent_prints(root.path(), &["status", "--json"])?;
    check("psyops-agent-status", &status)?;
    for part in ["report", "status", "syslog_pause", "last_failure"] {
        ensure!(status[part].is_object(), "{part} is missing: {status:#}");
        let mut changed = status.clone();
        changed[part]["surplus"] = true.into();
        let validator = validator(&schemas()?, "psyops-agent-status")?;
        ensure!(!validator.is_valid(&changed), "a surplus field of {part} is taken");
    }
    check("psyops-agent-reboot", &agent_prints(root.path(), &["reboot", "--json"])?)?;

    let bare = tempfile::tempdir()?;
    let report = agent::root::Root::new(bare.path()).at(handoff::paths::BOOT_REPORT);
    fs::create_dir_all(report.parent().context("a folder")?)?;
    fs::write(report, BootReport::default().to_json())?;
    check("psyops-agent-status", &agent_prints(bare.path(), &["status", "--json"])?)
}
