//! Flashing to files, which behave like sticks without faults; tests in a virtual machine with USB sticks cover faults.

use super::layout::PIECE;
use super::portion::portions;
use super::*;
use crate::image::fixture::{self, Fixture};
use crate::image::reader::ReadError;
use crate::image::table_fixture::Tables;
use handoff::partition::Role;
use handoff::slot::Slot;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use tempfile::{NamedTempFile, TempDir};

const MIB: u64 = 1 << 20;
const USUAL: Options = Options { full: false, read_back: true };

fn place(at: u64) -> usize {
    usize::try_from(at).unwrap()
}

fn image(fixture: &Fixture) -> ImageReader {
    ImageReader::open(&fixture.image.path).unwrap()
}

/// A stick of that size on which every byte is `byte`.
fn old_stick(size: u64, byte: u8) -> NamedTempFile {
    let stick = NamedTempFile::new().unwrap();
    stick.as_file().set_len(size).unwrap();
    let old = vec![byte; 1 << 20];
    for at in (0..size).step_by(1 << 20) {
        let length = usize::try_from((size - at).min(MIB)).unwrap();
        stick.as_file().write_all_at(&old[..length], at).unwrap();
    }
    stick
}

fn target(stick: &NamedTempFile) -> Target {
    let file = File::options().read(true).write(true).open(stick.path()).unwrap();
    let size = file.metadata().unwrap().len();
    Target { name: "stick".into(), file, size, is_disk: true }
}

fn flash_one(image: &ImageReader, stick: &NamedTempFile, options: Options) -> Result<Flashed, Failure> {
    let (target, stop) = (target(stick), AtomicBool::new(false));
    let job = Job::new(image, &target).unwrap();
    flash(vec![job], None, options, (&stop, &|_| ())).unwrap().remove(0).stick
}

fn is_whole(stick: &NamedTempFile) {
    let found = verify::verify(&ImageReader::open(stick.path()).unwrap(), None, None).unwrap();
    assert!(found.is_whole(), "{found:?}");
}

fn is_no_disk(stick: &NamedTempFile) {
    let error = ImageReader::open(stick.path()).unwrap_err();
    assert!(matches!(error, ReadError::NoTable { .. }), "{error}");
    let head = &fs::read(stick.path()).unwrap()[..1 << 20];
    assert!(head.iter().all(|&byte| byte == 0));
}

#[test]
fn a_stick_has_the_system_after_any_former_content() {
    let fixture = fixture::image();
    let size = image(&fixture).size().0 + 5 * MIB + 512;
    for options in [USUAL, Options { full: true, ..USUAL }] {
        let stick = old_stick(size, 0xAA);
        let flashed = flash_one(&image(&fixture), &stick, options).unwrap();
        let length = Layout::new(&image(&fixture), size).unwrap().length();
        assert_eq!(flashed, Flashed { written: length, equal: 0, read_back: true });
        is_whole(&stick);
        // No probe block is left.
        let found = fs::read(stick.path()).unwrap();
        assert!(
            found[place(size - 3 * MIB)..place(size - 17 * 1024)]
                .iter()
                .all(|&byte| byte == 0xAA || byte == 0)
        );
    }
}

#[test]
fn an_image_with_entries_of_256_bytes_becomes_a_stick_with_tables_as_always() {
    let fixture = fixture::image();
    let path = &fixture.image.path;
    let before = image(&fixture).table().clone();
    Tables::of(path).with_entries_of(256).write(path);
    let stick = old_stick(image(&fixture).size().0 + MIB, 0xAA);
    flash_one(&image(&fixture), &stick, USUAL).unwrap();
    is_whole(&stick);
    assert_eq!(*ImageReader::open(stick.path()).unwrap().table(), before);
    let again = flash_one(&image(&fixture), &stick, USUAL).unwrap();
    assert_eq!(again.written, 0);
}

#[test]
fn a_second_run_writes_only_what_differs() {
    let fixture = fixture::image();
    let stick = old_stick(image(&fixture).size().0 + MIB, 0);
    let first = flash_one(&image(&fixture), &stick, USUAL).unwrap();
    let before = fs::metadata(stick.path()).unwrap().modified().unwrap();
    let second = flash_one(&image(&fixture), &stick, USUAL).unwrap();
    assert_eq!(second, Flashed { written: 0, equal: first.written, read_back: true });
    assert_eq!(fs::metadata(stick.path()).unwrap().modified().unwrap(), before);
    let place = image(&fixture).partition(Role::Root(Slot::A)).unwrap().offset.0 + 100;
    stick.as_file().write_all_at(&[0xEE], place).unwrap();
    let third = flash_one(&image(&fixture), &stick, USUAL).unwrap();
    assert!(third.written > 0 && third.written <= PIECE, "{third:?}");
    assert_eq!(third.written + third.equal, first.written);
    is_whole(&stick);
    let full = flash_one(&image(&fixture), &stick, Options { full: true, ..USUAL }).unwrap();
    assert_eq!((full.written, full.equal), (first.written, 0));
}

#[test]
fn a_torn_table_is_written_again_after_everything_is_read() {
    let fixture = fixture::image();
    let stick = old_stick(image(&fixture).size().0, 0);
    let first = flash_one(&image(&fixture), &stick, USUAL).unwrap();
    stick.as_file().write_all_at(&[0xEE], 512).unwrap();
    let again = flash_one(&image(&fixture), &stick, USUAL).unwrap();
    assert_eq!(again, Flashed { written: 0, equal: first.written, read_back: true });
    is_whole(&stick);
}

#[test]
fn without_reading_back_no_stick_counts_as_read() {
    let fixture = fixture::image();
    let stick = old_stick(image(&fixture).size().0, 0);
    let flashed = flash_one(&image(&fixture), &stick, Options { full: true, read_back: false }).unwrap();
    assert!(!flashed.read_back);
    is_whole(&stick);
}

#[test]
fn an_interrupted_stick_has_no_table_and_the_next_run_completes_it() {
    let fixture = fixture::image();
    let size = image(&fixture).size().0;
    for pieces in [0, 1, 3, 20, 60] {
        let stick = old_stick(size, 0x55);
        let (image, target) = (image(&fixture), target(&stick));
        let stop = AtomicBool::new(false);
        let layout = Layout::new(&image, size).unwrap();
        let under_way = Recipient::new(Source::of(&image), &target, &layout, &stop).unwrap().stick;
        assert!(under_way.begin().unwrap());
        for range in layout.pieces.iter().take(pieces) {
            under_way.take(&Piece::of_image(Source::of(&image), range.clone()).unwrap()).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        let range = layout.pieces.last().unwrap().clone();
        let error = under_way.take(&Piece::of_image(Source::of(&image), range).unwrap()).unwrap_err();
        assert_eq!(crate::error::Classified::exit_code(&error), error::CUT_OFF);
        is_no_disk(&stick);
        flash_one(&image, &stick, USUAL).unwrap();
        is_whole(&stick);
    }
}

#[test]
fn a_run_stopped_before_it_began_writes_nothing() {
    let fixture = fixture::image();
    let stick = old_stick(image(&fixture).size().0, 0x55);
    let stop = AtomicBool::new(true);
    let failure = {
        let (image, target) = (image(&fixture), target(&stick));
        let jobs = vec![Job::new(&image, &target).unwrap()];
        flash(jobs, None, USUAL, (&stop, &|_| ())).unwrap().remove(0).stick.unwrap_err()
    };
    assert!(!failure.begun && failure.to_string().ends_with("nothing was written to it"), "{failure}");
    assert!(fs::read(stick.path()).unwrap().iter().all(|&byte| byte == 0x55));
}

#[test]
fn a_damaged_image_is_not_written() {
    let fixture = fixture::image();
    let path = fixture.image.path.as_path();
    let (blank, old) = (old_stick(image(&fixture).size().0, 0), old_stick(image(&fixture).size().0, 0));
    flash_one(&image(&fixture), &old, USUAL).unwrap();
    let before = [&blank, &old].map(|stick| fs::read(stick.path()).unwrap());
    let place = image(&fixture).partition(Role::Root(Slot::A)).unwrap().offset.0 + 100;
    File::options().write(true).open(path).unwrap().write_all_at(&[0xEE], place).unwrap();
    let (image, targets) = (image(&fixture), [&blank, &old].map(target));
    let (jobs, stop) =
        (targets.iter().map(|target| Job::new(&image, target).unwrap()), AtomicBool::new(false));
    let error = flash(jobs.collect(), None, USUAL, (&stop, &|_| ())).unwrap_err();
    assert!(error.to_string().contains("nothing was written: root-a"), "{error}");
    assert_eq!(error.exit_code(), 65);
    assert!(before == [&blank, &old].map(|stick| fs::read(stick.path()).unwrap()));
}

#[test]
fn a_changed_image_is_distinguished_from_a_bad_stick() {
    let fixture = fixture::image();
    let image = image(&fixture);
    let stick = old_stick(image.size().0, 0x55);
    let (target, stop) = (target(&stick), AtomicBool::new(false));
    let layout = Layout::new(&image, target.size).unwrap();
    // Another process writes to it as soon as it was verified.
    let verify = || {
        let root = image.partition(Role::Root(Slot::A)).unwrap().offset.0;
        let file = File::options().write(true).open(&fixture.image.path).unwrap();
        file.write_all_at(&[0xEE], root + 100).unwrap();
        Ok(())
    };
    let recipient = Recipient::new(Source::of(&image), &target, &layout, &stop).unwrap();
    write(slice::from_ref(&recipient), USUAL, verify, &|_| ()).unwrap();
    let failure = recipient.into_result(true).unwrap_err();
    assert!(matches!(failure.error, FlashError::ImageChanged { .. }), "{failure}");
    assert!(failure.begun && crate::error::Classified::exit_code(&failure) == 65, "{failure}");
    is_no_disk(&stick);
}

/// Flashes a stick, lets `harm` change it, and reads it back.
fn read_back(harm: impl Fn(&File, &[Range<u64>])) -> (NamedTempFile, Result<(), FlashError>) {
    let fixture = fixture::image();
    let image = image(&fixture);
    let stick = old_stick(image.size().0, 0);
    flash_one(&self::image(&fixture), &stick, Options { full: true, ..USUAL }).unwrap();
    let (target, stop) = (target(&stick), AtomicBool::new(false));
    let layout = Layout::new(&image, target.size).unwrap();
    let recipient = Recipient::new(Source::of(&image), &target, &layout, &stop).unwrap();
    recipient.stick.begin().unwrap();
    harm(stick.as_file(), &layout.pieces);
    compare::read_back(&[Todo { recipient: &recipient, pieces: layout.pieces.clone() }]);
    let result = recipient.into_result(true);
    (stick, result.map(drop).map_err(|failure| failure.error))
}

#[test]
fn a_piece_that_reads_back_wrong_is_written_again() {
    let (_, result) = read_back(|_, _| ());
    result.unwrap();
    let place = Mutex::new(0);
    let (stick, result) = read_back(|stick, pieces| {
        let piece = &pieces[pieces.len() / 2];
        *place.lock().unwrap() = piece.start;
        stick.write_all_at(&[0xEE; 512], piece.start).unwrap();
    });
    result.unwrap();
    let mut found = [0; 512];
    stick.as_file().read_exact_at(&mut found, place.into_inner().unwrap()).unwrap();
    assert_ne!(found, [0xEE; 512]);
}

#[test]
fn data_that_appears_in_another_place_means_less_room() {
    let high = Mutex::new(0);
    let (_, result) = read_back(|stick, pieces| {
        let read = |piece: &Range<u64>| {
            let mut bytes = vec![0; place(piece.end - piece.start)];
            stick.read_exact_at(&mut bytes, piece.start).unwrap();
            bytes
        };
        let all: Vec<Vec<u8>> = pieces.iter().map(read).collect();
        let is_alone = |number: &usize| all.iter().filter(|other| **other == all[*number]).count() == 1;
        let upper = (0..pieces.len()).rev().find(is_alone).unwrap();
        let lower = (0..upper).find(|number| all[*number].len() == all[upper].len()).unwrap();
        stick.write_all_at(&all[upper], pieces[lower].start).unwrap();
        *high.lock().unwrap() = pieces[upper].start;
    });
    let error = result.unwrap_err();
    let FlashError::LessRoom { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.first_lost, high.into_inner().unwrap());
    assert_eq!(crate::error::Classified::exit_code(&error), error::FAKE_STICK);
}

#[test]
fn pieces_next_to_written_ones_are_read_again() {
    let fixture = fixture::image();
    let stick = old_stick(image(&fixture).size().0, 0);
    let (image, target, stop) = (image(&fixture), target(&stick), AtomicBool::new(false));
    let layout = Layout::new(&image, target.size).unwrap();
    let under_way = Recipient::new(Source::of(&image), &target, &layout, &stop).unwrap().stick;
    let written = layout.pieces[layout.pieces.len() / 2].clone();
    let touched = under_way.touched(std::slice::from_ref(&written));
    assert!(touched.contains(&written) && touched.contains(&layout.pieces[0]));
    let area = |place: u64| place / (16 << 20);
    let beside = layout.pieces.iter().filter(|piece| area(piece.start) == area(written.start));
    assert!(beside.clone().count() > 1 && beside.clone().all(|piece| touched.contains(piece)));
    assert!(touched.len() < layout.pieces.len(), "{} pieces", touched.len());
}

#[test]
fn several_sticks_get_their_images_in_one_run() {
    let (one, two) = (fixture::image(), fixture::image());
    let sizes = [image(&one).size().0, image(&two).size().0 + 7 * MIB];
    let sticks = sizes.map(|size| old_stick(size, 0x11));
    let broken = NamedTempFile::new().unwrap();
    broken.as_file().set_len(sizes[0]).unwrap();
    // A stick that cannot be written.
    let broken = Target { file: File::open(broken.path()).unwrap(), ..target(&broken) };
    let targets = [target(&sticks[0]), broken, target(&sticks[1])];
    let images = [image(&one), image(&two)];
    let pairs = [&images[0], &images[0], &images[1]].into_iter().zip(&targets);
    let jobs = pairs.map(|(image, target)| Job::new(image, target).unwrap()).collect();
    let (stop, heard) = (AtomicBool::new(false), Mutex::new(0));
    let count = |events: &[Event]| *heard.lock().unwrap() = events.len();
    let finished = flash(jobs, None, USUAL, (&stop, &count)).unwrap();
    for (finished, (image, target)) in
        finished.iter().zip([0, 0, 1].map(|number| &images[number]).iter().zip(&targets))
    {
        assert!(std::ptr::eq(finished.job.image, *image) && std::ptr::eq(finished.job.target, target));
        assert_eq!(finished.image.path, image.path());
    }
    let results: Vec<_> = finished.into_iter().map(|finished| finished.stick).collect();
    assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
    let failure = results[1].as_ref().unwrap_err();
    assert!(matches!(failure.error, FlashError::Medium { .. }), "{failure:?}");
    sticks.iter().for_each(is_whole);
}

#[test]
fn the_shared_part_of_images_is_read_once() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("shared"), vec![7; 4 << 20]).unwrap();
    let images: Vec<Storage> = ["a", "b"]
        .iter()
        .map(|name| {
            let path = folder.path().join(name);
            let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
            let layer = crate::image::storage::LayerWriter::create(&file, 4 << 20, "shared").unwrap();
            layer.write_at(2 << 20, &[8; 1024]).unwrap();
            layer.finish().unwrap();
            Storage::open(&path).unwrap()
        })
        .collect();
    let pieces = vec![0..MIB, MIB..2 * MIB, 2 * MIB..3 * MIB];
    let sources: Vec<Source<'_>> = [Path::new("a"), Path::new("b")]
        .into_iter()
        .zip(&images)
        .map(|(path, storage)| Source { path, storage })
        .collect();
    let wanted = [0, 1, 1].map(|image| (sources[image], pieces.as_slice()));
    let portions = portions((0..).zip(wanted).map(|(stick, (source, pieces))| (stick, source, pieces)));
    let sticks: Vec<(u64, &[usize])> =
        portions.iter().map(|portion| (portion.range.start, portion.sticks.as_slice())).collect();
    assert_eq!(sticks, [(0, [0, 1, 2].as_slice()), (MIB, &[0, 1, 2]), (2 * MIB, &[0]), (2 * MIB, &[1, 2])]);
}

#[test]
fn the_head_of_a_file_system_is_written_last_and_read_back() {
    let folder = TempDir::new().unwrap();
    let image = folder.path().join("image");
    for length in [10_u32, 64 * 1024, 3_000_000] {
        // Direct I/O is in whole sectors.
        let length = length.next_multiple_of(512);
        let content: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0] ^ 0x5a).collect();
        fs::write(&image, &content).unwrap();
        let partition = old_stick(4 << 20, 0xff);
        let target = Target { is_disk: false, ..target(&partition) };
        let flashed = flash_partition(&image, &target, &AtomicBool::new(false)).unwrap();
        assert!(flashed.read_back);
        let written = fs::read(partition.path()).unwrap();
        assert!(written[..content.len()] == content);
        assert!(written[content.len()..].iter().all(|&byte| byte == 0xff));
    }
    let partition = old_stick(4 << 20, 0xff);
    let read_only = Target { file: File::open(partition.path()).unwrap(), ..target(&partition) };
    let error = flash_partition(&image, &read_only, &AtomicBool::new(false)).unwrap_err();
    assert!(error.to_string().contains("it is incomplete now"), "{error}");
}
