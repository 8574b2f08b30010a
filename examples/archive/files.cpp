#include "files.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>

namespace archive {

namespace fs = std::filesystem;

namespace {

[[noreturn]] void fail(const std::string& what, const fs::path& path) {
    throw std::runtime_error("cannot " + what + " " + printable(path.native()) + ": " +
                             std::generic_category().message(errno));
}

Stamp stamp_from(const struct stat& info) {
    return {.size = info.st_size,
            .mtime_ns = std::int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec};
}

bool is_build_tree(const fs::path& directory) {
    std::error_code ignored;
    return fs::exists(directory / "CMakeCache.txt", ignored);
}

// What a checkout holds besides its sources.
bool is_left_out_of_sources(const fs::path& directory) {
    static constexpr std::array<std::string_view, 6> kNames = {".git",         ".cache", "build",
                                                               "node_modules", ".venv",  "__pycache__"};
    const std::string name = directory.filename().native();
    return std::find(kNames.begin(), kNames.end(), name) != kNames.end() || is_build_tree(directory);
}

class Walker {
   public:
    Walker(const fs::path& root, fs::path leave_out, bool sources_only)
        : root_(root), leave_out_(std::move(leave_out)), sources_only_(sources_only) {}

    Walk run() {
        std::error_code error;
        fs::directory_iterator entries(root_, error);
        if (error)
            throw std::runtime_error("cannot read the directory " + printable(root_.native()) + ": " +
                                     error.message());
        enter(std::move(entries), root_);
        std::sort(walk_.files.begin(), walk_.files.end(),
                  [](const FoundFile& a, const FoundFile& b) { return a.path < b.path; });
        return std::move(walk_);
    }

   private:
    void enter(fs::directory_iterator entries, const fs::path& directory) {
        std::error_code error;
        for (; entries != fs::directory_iterator(); entries.increment(error)) {
            visit(entries->path());
            if (error) break;
        }
        if (error) skip(directory, "the directory cannot be read: " + error.message());
    }

    void visit(const fs::path& path) {
        struct stat info{};
        if (::lstat(path.c_str(), &info) != 0) {
            skip(path, "vanished while the directory was read");
        } else if (S_ISDIR(info.st_mode)) {
            if (path == leave_out_ || (sources_only_ && is_left_out_of_sources(path))) return;
            std::error_code error;
            fs::directory_iterator entries(path, error);
            if (error) return skip(path, "the directory cannot be read: " + error.message());
            enter(std::move(entries), path);
        } else if (!S_ISREG(info.st_mode)) {
            skip(path, S_ISLNK(info.st_mode) ? "a symbolic link" : "not a regular file");
        } else if (std::string relative = relative_to_root(path); !is_utf8(relative)) {
            skip(path, "its name is not UTF-8");
        } else {
            const Stamp stamp = stamp_from(info);
            walk_.files.push_back({std::move(relative), stamp.size, stamp.mtime_ns});
        }
    }

    std::string relative_to_root(const fs::path& path) const {
        return path.lexically_relative(root_).native();
    }

    void skip(const fs::path& path, std::string reason) {
        walk_.skipped.push_back({printable(relative_to_root(path)), std::move(reason)});
    }

    const fs::path& root_;
    fs::path leave_out_;
    bool sources_only_;
    Walk walk_;
};

}  // namespace

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
    if (context_ == nullptr || EVP_DigestInit_ex(context_, EVP_sha256(), nullptr) != 1) {
        EVP_MD_CTX_free(context_);
        throw std::runtime_error("OpenSSL has no SHA-256");
    }
}
Sha256::~Sha256() { EVP_MD_CTX_free(context_); }

void Sha256::add(std::span<const char> bytes) {
    if (EVP_DigestUpdate(context_, bytes.data(), bytes.size()) != 1)
        throw std::runtime_error("SHA-256 failed");
}

std::string Sha256::hex() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned length = 0;
    if (EVP_DigestFinal_ex(context_, digest.data(), &length) != 1) throw std::runtime_error("SHA-256 failed");
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    for (unsigned i = 0; i < length; ++i) {
        text += kDigits[digest[i] >> 4];
        text += kDigits[digest[i] & 15];
    }
    return text;
}

std::string sha256_of(std::string_view text) {
    Sha256 hash;
    hash.add({text.data(), text.size()});
    return hash.hex();
}

Walk walk(const fs::path& root, const fs::path& leave_out, bool sources_only) {
    return Walker(root, leave_out, sources_only).run();
}

std::optional<Stamp> stamp_of(const fs::path& path) {
    struct stat info{};
    if (::lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
    return stamp_from(info);
}

void publish(const fs::path& temporary, const fs::path& object, const std::string& object_sha256) {
    fs::create_directories(object.parent_path());
    if (::rename(temporary.c_str(), object.c_str()) != 0) {
        if (errno != ENOENT) fail("move a finished object to", object);
        // An execution that was killed after its rename and before its checkpoint has done the work.
        if (hash_file(object) != object_sha256) {
            throw std::runtime_error("the object " + object.native() + " is not the one that was compressed");
        }
    }
    const int directory = ::open(object.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) fail("open the directory", object.parent_path());
    const int synced = ::fsync(directory);
    ::close(directory);
    if (synced != 0) fail("force to disk the directory", object.parent_path());
}

fs::path state_directory(const fs::path& out) { return out / ".dbos-archive"; }
fs::path temporary_directory(const fs::path& out) { return state_directory(out) / "tmp"; }
std::string object_name(const std::string& sha256) {
    return "objects/" + sha256.substr(0, 2) + "/" + sha256.substr(2) + ".zst";
}

bool is_utf8(std::string_view text) noexcept {
    for (std::size_t i = 0; i < text.size();) {
        const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
        const unsigned lead = byte(i);
        const std::size_t length = lead < 0x80                   ? 1
                                   : lead >= 0xC2 && lead < 0xE0 ? 2
                                   : (lead & 0xF0U) == 0xE0      ? 3
                                   : lead >= 0xF0 && lead < 0xF5 ? 4
                                                                 : 0;
        if (length == 0 || i + length > text.size()) return false;
        for (std::size_t k = 1; k < length; ++k) {
            if ((byte(i + k) & 0xC0U) != 0x80U) return false;
        }
        if (length > 2) {  // no overlong forms, no surrogates, nothing beyond U+10FFFF
            const unsigned second = byte(i + 1);
            if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second >= 0xA0) ||
                (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second >= 0x90)) {
                return false;
            }
        }
        i += length;
    }
    return true;
}

std::string printable(std::string_view text) {
    static constexpr char kDigits[] = "0123456789abcdef";
    const bool utf8 = is_utf8(text);
    std::string shown;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7F || (byte >= 0x80 && !utf8)) {
            shown += "\\x";
            shown += kDigits[byte >> 4];
            shown += kDigits[byte & 15];
        } else {
            shown += c;
        }
    }
    return shown;
}

}  // namespace archive
