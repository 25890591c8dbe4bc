//! Flashing onto files, which are sticks in all but trouble; trouble has its tests in a machine with real USB sticks.

use super::*;
use crate::image::fixture::{self, Fixture};
use handoff::partition::Role;
use handoff::slot::Slot;
use std::fs;
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

/// A stick of that size on which nothing but a byte is.
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

fn target(stick: &NamedTempFile, image: usize) -> Target {
    let file = File::options().read(true).write(true).open(stick.path()).unwrap();
    let size = file.metadata().unwrap().len();
    Target { name: "stick".into(), file, size, is_disk: true, image }
}

fn flash_one(image: ImageReader, stick: &NamedTempFile, options: Options) -> Result<Flashed, Failure> {
    let stop = AtomicBool::new(false);
    flash(&[image], &[target(stick, 0)], options, &stop, &|_| ()).unwrap().remove(0)
}

fn is_whole(stick: &NamedTempFile) {
    let found = verify::verify(stick.path(), None, None).unwrap();
    assert!(found.is_whole(), "{found:?}");
}

fn is_no_disk(stick: &NamedTempFile) {
    assert!(ImageReader::open(stick.path()).is_err());
    let head = &fs::read(stick.path()).unwrap()[..1 << 20];
    assert!(head.iter().all(|&byte| byte == 0));
}

#[test]
fn a_stick_holds_the_system_whatever_was_on_it() {
    let fixture = fixture::image();
    let size = image(&fixture).size().0 + 5 * MIB + 512;
    for options in [USUAL, Options { full: true, ..USUAL }] {
        let stick = old_stick(size, 0xAA);
        let flashed = flash_one(image(&fixture), &stick, options).unwrap();
        let length = Layout::new(&image(&fixture), size).unwrap().length();
        assert_eq!(flashed, Flashed { written: length, equal: 0, read_back: true });
        is_whole(&stick);
        // No mark of the probe is left.
        let found = fs::read(stick.path()).unwrap();
        assert!(
            found[place(size - 3 * MIB)..place(size - 17 * 1024)]
                .iter()
                .all(|&byte| byte == 0xAA || byte == 0)
        );
    }
}

#[test]
fn a_second_time_nothing_is_written_and_a_flipped_byte_is_all_that_is() {
    let fixture = fixture::image();
    let stick = old_stick(image(&fixture).size().0 + MIB, 0);
    let first = flash_one(image(&fixture), &stick, USUAL).unwrap();
    let before = fs::metadata(stick.path()).unwrap().modified().unwrap();
    let second = flash_one(image(&fixture), &stick, USUAL).unwrap();
    assert_eq!(second, Flashed { written: 0, equal: first.written, read_back: true });
    assert_eq!(fs::metadata(stick.path()).unwrap().modified().unwrap(), before);
    let place = image(&fixture).partition(Role::Root(Slot::A)).unwrap().offset.0 + 100;
    stick.as_file().write_all_at(&[0xEE], place).unwrap();
    let third = flash_one(image(&fixture), &stick, USUAL).unwrap();
    assert!(third.written > 0 && third.written <= PIECE, "{third:?}");
    assert_eq!(third.written + third.equal, first.written);
    is_whole(&stick);
    let full = flash_one(image(&fixture), &stick, Options { full: true, ..USUAL }).unwrap();
    assert_eq!((full.written, full.equal), (first.written, 0));
}

#[test]
fn a_torn_table_is_written_again_and_all_is_read_first() {
    let fixture = fixture::image();
    let stick = old_stick(image(&fixture).size().0, 0);
    let first = flash_one(image(&fixture), &stick, USUAL).unwrap();
    stick.as_file().write_all_at(&[0xEE], 512).unwrap();
    let again = flash_one(image(&fixture), &stick, USUAL).unwrap();
    assert_eq!(again, Flashed { written: 0, equal: first.written, read_back: true });
    is_whole(&stick);
}

#[test]
fn without_reading_back_nobody_says_that_it_was_read() {
    let fixture = fixture::image();
    let stick = old_stick(image(&fixture).size().0, 0);
    let flashed = flash_one(image(&fixture), &stick, Options { full: true, read_back: false }).unwrap();
    assert!(!flashed.read_back);
    is_whole(&stick);
}

#[test]
fn broken_off_at_any_time_it_is_no_disk_and_the_next_run_ends_it() {
    let fixture = fixture::image();
    let size = image(&fixture).size().0;
    for pieces in [0, 1, 3, 20, 60] {
        let stick = old_stick(size, 0x55);
        let (image, targets) = (image(&fixture), [target(&stick, 0)]);
        let stop = AtomicBool::new(false);
        let layout = Layout::new(&image, size).unwrap();
        let under_way = self::stick(&targets[0], &layout, &stop).unwrap();
        assert!(under_way.begin().unwrap());
        let mut found = Buffer::zeros(place(PIECE));
        for range in layout.pieces.iter().take(pieces) {
            under_way.take(&Piece::of_image(Source::of(&image), range.clone()).unwrap(), &mut found).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        let range = layout.pieces.last().unwrap().clone();
        let error =
            under_way.take(&Piece::of_image(Source::of(&image), range).unwrap(), &mut found).unwrap_err();
        assert_eq!(crate::error::Classified::exit_code(&error), error::CUT_OFF);
        is_no_disk(&stick);
        flash_one(image, &stick, USUAL).unwrap();
        is_whole(&stick);
    }
}

#[test]
fn what_was_stopped_before_it_began_is_untouched() {
    let fixture = fixture::image();
    let stick = old_stick(image(&fixture).size().0, 0x55);
    let stop = AtomicBool::new(true);
    let mut results = flash(&[image(&fixture)], &[target(&stick, 0)], USUAL, &stop, &|_| ()).unwrap();
    let failure = results.remove(0).unwrap_err();
    assert!(!failure.begun && failure.to_string().ends_with("nothing was written to it"), "{failure}");
    assert!(fs::read(stick.path()).unwrap().iter().all(|&byte| byte == 0x55));
}

#[test]
fn a_damaged_image_is_not_for_sticks() {
    let fixture = fixture::image();
    let path = fixture.image.path.as_path();
    assert_eq!(sound_image(path, None).unwrap().size(), image(&fixture).size());
    let place = image(&fixture).partition(Role::Root(Slot::A)).unwrap().offset.0 + 100;
    File::options().write(true).open(path).unwrap().write_all_at(&[0xEE], place).unwrap();
    let error = sound_image(path, None).unwrap_err();
    assert!(error.to_string().contains("nothing was written: root-a"), "{error}");
    assert_eq!(error.exit_code(), 65);
}

#[test]
fn an_image_that_changes_meanwhile_is_told_from_a_bad_stick() {
    let fixture = fixture::image();
    let image = image(&fixture);
    let file = old_stick(image.size().0, 0);
    flash_one(self::image(&fixture), &file, USUAL).unwrap();
    let (targets, stop) = ([target(&file, 0)], AtomicBool::new(false));
    let layout = Layout::new(&image, targets[0].size).unwrap();
    let under_way = stick(&targets[0], &layout, &stop).unwrap();
    let mut expected: Vec<Expected> = layout
        .pieces
        .iter()
        .map(|range| Piece::of_image(Source::of(&image), range.clone()).unwrap())
        .map(|piece| Expected { range: piece.range, digest: piece.digest })
        .collect();
    read_back::read_back(&under_way, Source::of(&image), &expected).unwrap();
    let root = image.partition(Role::Root(Slot::A)).unwrap().offset.0;
    let changed = expected.iter_mut().find(|expected| expected.range.start == root).unwrap();
    changed.digest = Sha256Digest::of(b"what it was");
    let error = read_back::read_back(&under_way, Source::of(&image), &expected).unwrap_err();
    assert!(matches!(error, FlashError::ImageChanged { offset, .. } if offset == root), "{error}");
}

#[test]
fn what_turns_up_in_another_place_is_less_room() {
    let fixture = fixture::image();
    let image = image(&fixture);
    let file = old_stick(image.size().0, 0);
    flash_one(self::image(&fixture), &file, USUAL).unwrap();
    let pieces = Layout::new(&image, image.size().0).unwrap().pieces;
    let expected: Vec<Expected> = pieces
        .iter()
        .map(|range| Piece::of_image(Source::of(&image), range.clone()).unwrap())
        .map(|piece| Expected { range: piece.range, digest: piece.digest })
        .collect();
    let is_like = |one: &&Expected, other: &Expected| {
        one.range.end - one.range.start == other.range.end - other.range.start
    };
    let alone = |piece: &&Expected| expected.iter().filter(|other| other.digest == piece.digest).count() == 1;
    let high = expected.iter().rev().find(alone).unwrap();
    let low = expected.iter().find(|piece| is_like(piece, high) && piece.range != high.range).unwrap();
    let bytes = Piece::of_image(Source::of(&image), high.range.clone()).unwrap().bytes;
    file.as_file().write_all_at(&bytes, low.range.start).unwrap();
    let (targets, stop) = ([target(&file, 0)], AtomicBool::new(false));
    let layout = Layout::new(&image, targets[0].size).unwrap();
    let under_way = stick(&targets[0], &layout, &stop).unwrap();
    let error = read_back::read_back(&under_way, Source::of(&image), &expected).unwrap_err();
    let FlashError::LessRoom { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.first_lost, high.range.start);
    assert_eq!(crate::error::Classified::exit_code(&error), error::FAKE_STICK);
}

#[test]
fn several_sticks_get_their_images_in_one_run() {
    let (one, two) = (fixture::image(), fixture::image());
    let sizes = [image(&one).size().0, image(&two).size().0 + 7 * MIB];
    let sticks = sizes.map(|size| old_stick(size, 0x11));
    let broken = NamedTempFile::new().unwrap();
    broken.as_file().set_len(sizes[0]).unwrap();
    let mut targets = vec![target(&sticks[0], 0), target(&sticks[1], 1)];
    // One that cannot be written.
    targets.insert(1, Target { file: File::open(broken.path()).unwrap(), ..target(&broken, 0) });
    let (stop, heard) = (AtomicBool::new(false), Mutex::new(0));
    let count = |events: &[Event]| *heard.lock().unwrap() = events.len();
    let results = flash(&[image(&one), image(&two)], &targets, USUAL, &stop, &count).unwrap();
    assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
    assert!(results[1].is_err());
    sticks.iter().for_each(is_whole);
}

#[test]
fn what_images_share_is_read_once() {
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
    let wanted = [(0, pieces.as_slice()), (1, &pieces), (1, &pieces)];
    let sources: Vec<Source<'_>> = [Path::new("a"), Path::new("b")]
        .into_iter()
        .zip(&images)
        .map(|(path, storage)| Source { path, storage })
        .collect();
    let portions = portions(&sources, &wanted);
    let sticks: Vec<(u64, &[usize])> =
        portions.iter().map(|portion| (portion.range.start, portion.sticks.as_slice())).collect();
    assert_eq!(sticks, [(0, [0, 1, 2].as_slice()), (MIB, &[0, 1, 2]), (2 * MIB, &[0]), (2 * MIB, &[1, 2])]);
}

#[test]
fn a_file_system_comes_head_last_and_is_read_back() {
    let folder = TempDir::new().unwrap();
    let image = folder.path().join("image");
    for length in [10_u32, 64 * 1024, 3_000_000] {
        // Direct I/O is in whole sectors.
        let length = length.next_multiple_of(512);
        let content: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0] ^ 0x5a).collect();
        fs::write(&image, &content).unwrap();
        let partition = old_stick(4 << 20, 0xff);
        let target = Target { is_disk: false, ..target(&partition, 0) };
        let flashed = flash_partition(&image, target, &AtomicBool::new(false)).unwrap();
        assert!(flashed.read_back);
        let written = fs::read(partition.path()).unwrap();
        assert!(written[..content.len()] == content);
        assert!(written[content.len()..].iter().all(|&byte| byte == 0xff));
    }
    let partition = old_stick(4 << 20, 0xff);
    let read_only = Target { file: File::open(partition.path()).unwrap(), ..target(&partition, 0) };
    let error = flash_partition(&image, read_only, &AtomicBool::new(false)).unwrap_err();
    assert!(error.to_string().contains("it holds nothing whole now"), "{error}");
}
