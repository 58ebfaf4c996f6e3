//! The little of ELF (elf(5), ld.so(8)) that tells what a program needs to start: its dynamic loader, and the
//! libraries that the loader will find for it. Read from the files, never by running anything.

use super::ld_cache::LdCache;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;
const LONGEST_STRING: usize = 4096;
const MOST_HEADERS: u16 = 256;
/// Bytes of a program header, at least.
const HEADER: u16 = 56;
const MOST_DYNAMIC: u64 = 64 << 10;
const MOST_LIBRARIES: usize = 512;

/// What one ELF file says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Elf {
    interpreter: Option<PathBuf>,
    needed: Vec<PathBuf>,
    /// Directories to search, `$ORIGIN` replaced; and whether they hold for libraries of libraries (RPATH).
    search: Vec<PathBuf>,
    inherited: bool,
}

/// The loader that a program names; none for a static one, or for what is no 64-bit little-endian ELF file.
pub(crate) fn interpreter(program: &Path) -> Option<PathBuf> {
    read(program)?.interpreter
}

/// The loader and every library that a program is linked with, as far as they can be found: paths as the loader
/// will open them. A static program has none.
pub(crate) fn closure(program: &Path) -> BTreeSet<PathBuf> {
    let cache = LdCache::open(Path::new("/etc/ld.so.cache"));
    closure_with(program, &cache, &default_directories())
}

fn closure_with(program: &Path, cache: &LdCache, defaults: &[PathBuf]) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let Some(start) = read(program) else { return found };
    found.extend(start.interpreter.clone());
    let mut names: BTreeMap<PathBuf, ()> = BTreeMap::new();
    let mut queue: VecDeque<(Elf, Vec<PathBuf>)> = [(start, Vec::new())].into();
    while let Some((elf, above)) = queue.pop_front() {
        let inherited = if elf.inherited { [&above[..], &elf.search[..]].concat() } else { above.clone() };
        let search: Vec<&PathBuf> = above.iter().chain(&elf.search).collect();
        for name in elf.needed {
            if names.len() >= MOST_LIBRARIES || names.insert(name.clone(), ()).is_some() {
                continue;
            }
            if let Some((path, library)) = locate(&name, &search, cache, defaults) {
                found.insert(path);
                queue.push_back((library, inherited.clone()));
            }
        }
    }
    found
}

fn locate(name: &Path, search: &[&PathBuf], cache: &LdCache, defaults: &[PathBuf]) -> Option<(PathBuf, Elf)> {
    // A name with a slash is a path; relative ones depend on where the program is started.
    let has_slash = name.as_os_str().as_bytes().contains(&b'/');
    if has_slash {
        return name.is_absolute().then(|| Some((name.to_owned(), read(name)?))).flatten();
    }
    let beside = search.iter().map(|directory| directory.join(name));
    let cached = cache.paths(name.as_os_str().as_bytes());
    let default = defaults.iter().map(|directory| directory.join(name));
    beside.chain(cached).chain(default).find_map(|path| Some((path.clone(), read(&path)?)))
}

fn default_directories() -> Vec<PathBuf> {
    let machine = std::env::consts::ARCH;
    let triplet = format!("{machine}-linux-gnu");
    ["/lib", "/usr/lib"]
        .iter()
        .map(|parent| Path::new(parent).join(&triplet))
        .chain(["/lib64", "/usr/lib64", "/lib", "/usr/lib"].iter().map(PathBuf::from))
        .collect()
}

fn read(path: &Path) -> Option<Elf> {
    let file = File::open(path).ok()?;
    file.metadata().ok()?.is_file().then_some(())?;
    let origin = std::fs::canonicalize(path).ok()?.parent()?.to_owned();
    parse(&file, &origin)
}

fn parse(file: &impl FileExt, origin: &Path) -> Option<Elf> {
    const ELF64_LITTLE: &[u8] = b"\x7fELF\x02\x01";
    let header = bytes(file, 0, 64)?;
    header.starts_with(ELF64_LITTLE).then_some(())?;
    let (table, size, count) = (u64_at(&header, 32)?, u16_at(&header, 54)?, u16_at(&header, 56)?);
    let mut elf = Elf::default();
    let (mut loads, mut dynamic) = (Vec::new(), None);
    let headers = bytes(file, table, u64::from(count.min(MOST_HEADERS)) * u64::from(size.max(HEADER)))?;
    for header in headers.chunks_exact(usize::from(size.max(HEADER))) {
        let (offset, address, bytes) = (u64_at(header, 8)?, u64_at(header, 16)?, u64_at(header, 32)?);
        match u32_at(header, 0)? {
            PT_LOAD => loads.push((address, offset, bytes)),
            PT_DYNAMIC => dynamic = Some((offset, bytes)),
            PT_INTERP => elf.interpreter = Some(string(file, offset)?).filter(|path| path.is_absolute()),
            _ => {}
        }
    }
    if let Some((offset, len)) = dynamic {
        read_dynamic(file, &mut elf, &loads, bytes(file, offset, len.min(MOST_DYNAMIC))?, origin)?;
    }
    Some(elf)
}

fn read_dynamic(
    file: &impl FileExt,
    elf: &mut Elf,
    loads: &[(u64, u64, u64)],
    table: Vec<u8>,
    origin: &Path,
) -> Option<()> {
    let entries: Vec<(u64, u64)> = table
        .chunks_exact(16)
        .map_while(|entry| Some((u64_at(entry, 0)?, u64_at(entry, 8)?)))
        .take_while(|(tag, _)| *tag != 0)
        .collect();
    let strings = entries.iter().find(|(tag, _)| *tag == DT_STRTAB)?.1;
    let strings = loads.iter().find_map(|(address, offset, bytes)| {
        let inside = strings.checked_sub(*address).filter(|inside| inside < bytes)?;
        offset.checked_add(inside)
    })?;
    let has_runpath = entries.iter().any(|(tag, _)| *tag == DT_RUNPATH);
    for (tag, value) in entries.into_iter().take(MOST_LIBRARIES) {
        let text = || string(file, strings.checked_add(value)?);
        match tag {
            DT_NEEDED => elf.needed.push(text()?),
            DT_RUNPATH => elf.search = search_path(&text()?, origin),
            DT_RPATH if !has_runpath => {
                elf.search = search_path(&text()?, origin);
                elf.inherited = true;
            }
            _ => {}
        }
    }
    Some(())
}

fn search_path(text: &Path, origin: &Path) -> Vec<PathBuf> {
    let text = text.to_string_lossy();
    let origin = origin.to_string_lossy();
    text.split(':')
        .map(|part| PathBuf::from(part.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin)))
        .filter(|path| path.is_absolute() && !path.to_string_lossy().contains('$'))
        .filter_map(|path| without_dots(&path))
        .collect()
}

/// The same directory by a path without `..`, since paths inside have none; none where nothing is. What is above a
/// directory is above what it really is: its path may lead over a link.
fn without_dots(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            plain = std::fs::canonicalize(&plain).ok()?;
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    Some(plain)
}

fn bytes(file: &impl FileExt, at: u64, len: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    file.read_exact_at(&mut bytes, at).ok()?;
    Some(bytes)
}

fn string(file: &impl FileExt, at: u64) -> Option<PathBuf> {
    let mut text = vec![0; LONGEST_STRING];
    let len = file.read_at(&mut text, at).ok()?;
    let end = text.get(..len)?.iter().position(|byte| *byte == 0)?;
    Some(PathBuf::from(OsStr::from_bytes(text.get(..end)?)))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn this_very_shell_names_its_loader_and_its_library() {
        let loader = interpreter(Path::new("/bin/sh")).expect("a dynamic /bin/sh");
        assert!(loader.to_string_lossy().contains("ld-linux"), "{}", loader.display());
        let found = closure(Path::new("/bin/sh"));
        assert!(found.contains(&loader) && found.iter().any(|path| path.ends_with("libc.so.6")), "{found:?}");
        // Without the cache the default directories have it just so.
        let without = closure_with(Path::new("/bin/sh"), &LdCache::default(), &default_directories());
        assert_eq!(found.len(), without.len(), "{found:?} {without:?}");
    }

    #[test]
    fn the_closure_is_what_the_loader_says() {
        let program = std::env::current_exe().unwrap();
        let mut wanted: Vec<_> = std::fs::read_to_string("/proc/self/maps")
            .unwrap()
            .lines()
            .filter_map(|line| line.split_once(" /").map(|(_, path)| format!("/{path}")))
            .filter(|path| path.contains(".so"))
            .collect();
        wanted.sort();
        wanted.dedup();
        let real = closure(&program)
            .iter()
            .map(|path| std::fs::canonicalize(path).unwrap())
            .collect::<BTreeSet<_>>();
        assert_eq!(real, wanted.iter().map(PathBuf::from).collect());
    }

    #[test]
    fn broken_files_are_no_programs() {
        let whole = std::fs::read("/bin/sh").unwrap();
        let check = |content: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(content).unwrap();
            parse(&file, Path::new("/"))
        };
        let elf = check(&whole).expect("a shell is a program");
        assert!(elf.interpreter.is_some() && !elf.needed.is_empty());
        for len in 0..120 {
            assert_eq!(check(&whole[..len]), None, "{len}");
        }
        // Every byte of the headers, turned over: an answer or none, and no panic.
        for at in 0..64 * 14 {
            let mut broken = whole.clone();
            broken[at] ^= 0xff;
            let _ = check(&broken);
        }
    }

    #[test]
    fn origin_is_replaced_and_relative_directories_are_dropped() {
        let path = search_path(Path::new("${ORIGIN}:$ORIGIN/x:lib:/opt/lib:$LIB/x"), Path::new("/p/bin"));
        assert_eq!(path, ["/p/bin", "/p/bin/x", "/opt/lib"].map(PathBuf::from));
    }

    #[test]
    fn what_is_above_a_link_is_above_its_target() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        std::fs::create_dir_all(place("real/bin")).unwrap();
        std::os::unix::fs::symlink(place("real/bin"), place("link")).unwrap();
        let path = search_path(Path::new("$ORIGIN/../lib:$ORIGIN/absent/../lib:$ORIGIN/./x"), &place("link"));
        assert_eq!(path, [place("real/lib"), place("link/x")]);
    }
}
