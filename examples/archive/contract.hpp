// The contract of the pipeline: two workflows and the values that travel between client, queue and steps.
//
// Values are descriptions - paths, hashes, sizes - and never the contents of a file: what a workflow takes and what its
// steps return is stored in the database.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include <dbos/dbos.hpp>

namespace archive {

/// A regular file as the walk saw it, and the id of the workflow that archives it. The id is derived from the archive, the
/// path, the size and the time of modification, so that the same file is the same work.
struct SourceFile {
    std::string path = {};  // relative to the root, UTF-8
    std::int64_t size = 0;
    std::int64_t mtime_ns = 0;
    std::string workflow_id = {};
};

/// Input of the parent: the files of one directory.
struct Tree {
    std::string root = {};        // absolute
    std::string out = {};         // absolute
    std::string file_queue = {};  // where the children go
    std::vector<SourceFile> files = {};
};

/// Input of a child.
struct FileJob {
    std::string root = {};
    std::string out = {};
    SourceFile file = {};
};

/// What became of a file. state: archived, vanished, changed (both during the run) or failed (`detail` says why).
struct FileResult {
    std::string path = {};
    std::string state = {};
    std::string detail = {};
    std::string sha256 = {};  // of the source; names the object
    std::int64_t size = 0;
    std::int64_t object_size = 0;
};

/// Result of the parent.
struct Summary {
    std::int64_t archived = 0;
    std::int64_t skipped = 0;  // vanished or changed
    std::int64_t failed = 0;
    std::string manifest_sha256 = {};
};

// Results of the steps. `ran_by` names the execution that produced the value (see sidelog.hpp): the verification compares
// it with the side log to prove which execution was the one recorded.
struct Hashed {
    std::string state = {};  // empty: fine
    std::string detail = {};
    std::string sha256 = {};
    std::int64_t size = 0;
    std::string ran_by = {};
};
struct Compressed {
    std::string state = {};
    std::string detail = {};
    std::string temporary = {};  // file name below .dbos-archive/tmp
    std::string object_sha256 = {};
    std::int64_t object_size = 0;
    std::string ran_by = {};
};
struct Verified {
    std::string sha256 = {};  // of the decompressed temporary
    std::string ran_by = {};
};
struct Published {
    std::string object = {};  // relative to OUT
    std::string ran_by = {};
};
struct ManifestWritten {
    std::string sha256 = {};
    std::string ran_by = {};
};

DBOS_FIELDS(SourceFile, path, size, mtime_ns, workflow_id)
DBOS_FIELDS(Tree, root, out, file_queue, files)
DBOS_FIELDS(FileJob, root, out, file)
DBOS_FIELDS(FileResult, path, state, detail, sha256, size, object_size)
DBOS_FIELDS(Summary, archived, skipped, failed, manifest_sha256)
DBOS_FIELDS(Hashed, state, detail, sha256, size, ran_by)
DBOS_FIELDS(Compressed, state, detail, temporary, object_sha256, object_size, ran_by)
DBOS_FIELDS(Verified, sha256, ran_by)
DBOS_FIELDS(Published, object, ran_by)
DBOS_FIELDS(ManifestWritten, sha256, ran_by)

/// A file that cannot be read, a disk that is full. The child ends with it, and the parent goes on.
struct CannotArchive : std::runtime_error {
    using std::runtime_error::runtime_error;
};
DBOS_ERROR(CannotArchive)

inline constexpr auto ArchiveTree = dbos::workflow<Summary(Tree)>("archive_tree").throws<CannotArchive>();
inline constexpr auto ArchiveFile =
    dbos::workflow<FileResult(FileJob)>("archive_file").throws<CannotArchive>();

}  // namespace archive
