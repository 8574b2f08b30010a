// Files: walking a directory, hashing, compressing, decompressing, publishing. No durable execution here; every function
// may be repeated at any time, and streams: nothing holds a whole file in memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

struct evp_md_ctx_st;

namespace archive {

/// A source that is not what the walk saw: state is "vanished" or "changed".
class SourceGone : public std::runtime_error {
   public:
    SourceGone(std::string state, const std::string& message)
        : std::runtime_error(message), state_(std::move(state)) {}
    const std::string& state() const noexcept { return state_; }

   private:
    std::string state_;
};

/// SHA-256, streaming. hex() ends it.
class Sha256 {
   public:
    Sha256();
    ~Sha256();
    Sha256(const Sha256&) = delete;
    Sha256& operator=(const Sha256&) = delete;
    void add(std::span<const char> bytes);
    std::string hex();

   private:
    evp_md_ctx_st* context_;
};
std::string sha256_of(std::string_view text);

/// A regular file that was found, without a workflow yet.
struct FoundFile {
    std::string path;  // relative, UTF-8
    std::int64_t size = 0;
    std::int64_t mtime_ns = 0;
};
struct NotArchived {
    std::string path;    // as it can be shown
    std::string reason;  // "symbolic link", "name is not UTF-8", …
};
struct Walk {
    std::vector<FoundFile> files;  // ordered by path
    std::vector<NotArchived> skipped;
};
/// All regular files below `root`. Symbolic links are not followed. `leave_out` (absolute) is not entered; with
/// `sources_only` neither are .git, build directories and the like. Throws std::runtime_error if the root is unreadable.
Walk walk(const std::filesystem::path& root, const std::filesystem::path& leave_out, bool sources_only);

/// Size and time of modification; nullopt if it is no longer a regular file there.
struct Stamp {
    std::int64_t size = 0;
    std::int64_t mtime_ns = 0;
    friend bool operator==(const Stamp&, const Stamp&) = default;
};
std::optional<Stamp> stamp_of(const std::filesystem::path& path);

/// SHA-256 of a source. Throws SourceGone if it has vanished or differs from `expected` before or after the reading, and
/// std::runtime_error if it cannot be read.
std::string hash_source(const std::filesystem::path& path, const Stamp& expected);

struct CompressedFile {
    std::string source_sha256;
    std::string object_sha256;
    std::int64_t object_size = 0;
};
/// Compresses `source` into the new file `target` with zstd and forces it to disk. Errors as hash_source; `target` is
/// removed then.
CompressedFile compress(const std::filesystem::path& source, const Stamp& expected,
                        const std::filesystem::path& target);

/// SHA-256 and size of what an object decompresses to. Throws std::runtime_error on a damaged or cut-off object.
struct Content {
    std::string sha256;
    std::int64_t size = 0;
};
Content content_of_object(const std::filesystem::path& object);
/// SHA-256 of the bytes of a file.
std::string hash_file(const std::filesystem::path& path);

/// Moves `temporary` to `object` atomically and durably. If an earlier execution had already moved it, checks that the
/// object is the same (by its SHA-256), and is content.
void publish(const std::filesystem::path& temporary, const std::filesystem::path& object,
             const std::string& object_sha256);
/// Writes a whole file atomically: a temporary beside it, forced to disk, renamed.
void write_file(const std::filesystem::path& path, const std::filesystem::path& temporary,
                std::string_view text);
std::string read_file(const std::filesystem::path& path);

/// Where things lie below OUT.
std::filesystem::path state_directory(const std::filesystem::path& out);
std::filesystem::path temporary_directory(const std::filesystem::path& out);
/// objects/ab/cdef….zst, named by the SHA-256 of the content.
std::string object_name(const std::string& sha256);

bool is_utf8(std::string_view text) noexcept;
/// For messages: control characters and bytes that are not UTF-8 as \xNN.
std::string printable(std::string_view text);

}  // namespace archive
