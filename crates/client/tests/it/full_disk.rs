//! A disk without room, while a payment is made, while its answer is kept, and while a page is written. On a small file system that the test
//! mounts; where it may not, it says so and shows nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use candor_client::{ClientError, SpendBook, write_private};

use crate::support::{BODY, CHARGED, Scene, UNRESOLVED};

/// A file system of a mebibyte.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it there; `None` if this user may mount nothing.
    fn mount(path: &Path) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs"]).arg(path).output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(path.to_owned())),
            Ok(output) => {
                eprintln!("not tested: no file system can be mounted here: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                eprintln!("not tested: no file system can be mounted here: {error}");
                None
            }
        }
    }

    /// Takes all of its room.
    fn fill(&self) {
        use std::io::Write as _;
        let mut file = fs::File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
        // What is left of the last page.
        while file.write_all(&[1]).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[tokio::test]
async fn a_book_that_cannot_be_written_signs_nothing() {
    let scene = Scene::new();
    let Some(disk) = SmallDisk::mount(&scene.state) else { return };
    let book = scene.book();
    disk.fill();
    for _ in 0..2 {
        let error = scene.buy(BODY, &book).await.unwrap_err();
        assert!(matches!(&error, ClientError::File { what, .. } if what.contains("full")), "{error}");
    }
    // Nor does one that is opened when there is no room, if it can be opened at all.
    drop(book);
    disk.fill();
    let opened = match SpendBook::open(&scene.database()) {
        Ok(book) => scene.buy(BODY, &book).await.map(drop),
        Err(error) => Err(error),
    };
    assert!(matches!(opened, Err(ClientError::File { .. })), "{opened:?}");
    assert!(scene.node.paid().is_empty());
    disk.free();
    assert!(scene.rows().is_empty());
    scene.ask(BODY).await.unwrap();
    assert_eq!((scene.node.payments().len(), scene.rows()[0].state), (1, CHARGED));
}

#[tokio::test]
async fn an_answer_that_cannot_be_kept_leaves_its_payment_to_fetch_it_again() {
    let scene = Scene::new();
    let Some(disk) = SmallDisk::mount(&scene.bundles()) else { return };
    disk.fill();
    let error = scene.ask(BODY).await.unwrap_err();
    assert!(matches!(&error, ClientError::File { path, .. } if path.starts_with(scene.bundles().to_str().unwrap())), "{error}");
    assert_eq!((scene.rows()[0].state, scene.kept()), (UNRESOLVED, vec!["filler".to_owned()]));
    disk.free();
    let response = scene.ask(BODY).await.unwrap();
    assert_eq!((scene.node.paid().len(), scene.node.payments().len()), (2, 1), "one payment, sent twice");
    assert_eq!((scene.rows().len(), scene.rows()[0].state), (1, CHARGED));
    assert_eq!(fs::read(response.path.unwrap()).unwrap(), response.bundle.encode());
}

/// Pages and bundles are written by the same function.
#[test]
fn a_file_that_cannot_be_written_leaves_no_half_of_it_and_the_old_one_whole() {
    let directory = std::env::temp_dir().join(format!("candor-small-{}", std::process::id()));
    if let Some(disk) = SmallDisk::mount(&directory) {
        let page = directory.join("verdict.html");
        write_private(&page, b"<!doctype html>old").unwrap();
        disk.fill();
        let error = write_private(&page, &[b'x'; 20_000]).unwrap_err();
        assert!(matches!(&error, ClientError::File { path, .. } if path == page.to_str().unwrap()), "{error}");
        assert_eq!(fs::read(&page).unwrap(), b"<!doctype html>old");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2, "the page and what fills the disk");
    }
    fs::remove_dir_all(directory).unwrap();
}
