// The functions of files.hpp that read and write contents, one block at a time.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <cerrno>
#include <memory>
#include <system_error>

#include "files.hpp"

namespace archive {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kBlock = 1U << 20;
constexpr int kLevel = 3;

std::string reason() { return std::generic_category().message(errno); }

class InputFile {
   public:
    // O_NONBLOCK: whatever took the place of the file meanwhile (a FIFO) must not block the open.
    explicit InputFile(const fs::path& path)
        : path_(path), fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
        if (fd_ < 0 && (errno == ENOENT || errno == ENOTDIR)) {
            throw SourceGone("vanished", printable(path.native()) + " has vanished");
        }
        if (fd_ < 0) throw std::runtime_error("cannot open " + printable(path.native()) + ": " + reason());
    }
    ~InputFile() { ::close(fd_); }
    InputFile(const InputFile&) = delete;
    InputFile& operator=(const InputFile&) = delete;

    std::size_t read(std::vector<char>& block) {
        for (;;) {
            const ssize_t got = ::read(fd_, block.data(), block.size());
            if (got >= 0) return static_cast<std::size_t>(got);
            if (errno != EINTR)
                throw std::runtime_error("cannot read " + printable(path_.native()) + ": " + reason());
        }
    }

    void expect(const Stamp& expected) const {
        struct stat info{};
        if (::fstat(fd_, &info) != 0)
            throw std::runtime_error("cannot look at " + printable(path_.native()) + ": " + reason());
        const std::int64_t mtime_ns =
            std::int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
        if (!S_ISREG(info.st_mode) || Stamp{info.st_size, mtime_ns} != expected) {
            throw SourceGone("changed",
                             printable(path_.native()) + " has changed since the directory was read");
        }
    }

   private:
    const fs::path& path_;
    int fd_;
};

// A new file; removed again unless finish() was reached.
class OutputFile {
   public:
    explicit OutputFile(const fs::path& path)
        : path_(path), fd_(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666)) {
        if (fd_ < 0) throw std::runtime_error("cannot create " + printable(path.native()) + ": " + reason());
    }
    ~OutputFile() {
        ::close(fd_);
        if (!finished_) ::unlink(path_.c_str());
    }
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;

    void write(std::span<const char> bytes) {
        while (!bytes.empty()) {
            const ssize_t put = ::write(fd_, bytes.data(), bytes.size());
            if (put < 0 && errno == EINTR) continue;
            if (put < 0)
                throw std::runtime_error("cannot write " + printable(path_.native()) + ": " + reason());
            bytes = bytes.subspan(static_cast<std::size_t>(put));
        }
    }
    void finish() {
        if (::fsync(fd_) != 0)
            throw std::runtime_error("cannot force to disk " + printable(path_.native()) + ": " + reason());
        finished_ = true;
    }

   private:
    const fs::path& path_;
    int fd_;
    bool finished_ = false;
};

std::size_t checked(std::size_t code) {
    if (ZSTD_isError(code) != 0U) throw std::runtime_error(std::string("zstd: ") + ZSTD_getErrorName(code));
    return code;
}

using Compressor = std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)>;
using Decompressor = std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)>;

}  // namespace

std::string hash_source(const fs::path& path, const Stamp& expected) {
    InputFile input(path);
    input.expect(expected);
    Sha256 hash;
    std::vector<char> block(kBlock);
    while (const std::size_t got = input.read(block)) hash.add({block.data(), got});
    input.expect(expected);
    return hash.hex();
}

std::string hash_file(const fs::path& path) {
    InputFile input(path);
    Sha256 hash;
    std::vector<char> block(kBlock);
    while (const std::size_t got = input.read(block)) hash.add({block.data(), got});
    return hash.hex();
}

CompressedFile compress(const fs::path& source, const Stamp& expected, const fs::path& target) {
    InputFile input(source);
    input.expect(expected);
    OutputFile output(target);
    const Compressor compressor(ZSTD_createCCtx(), &ZSTD_freeCCtx);
    checked(ZSTD_CCtx_setParameter(compressor.get(), ZSTD_c_compressionLevel, kLevel));
    checked(ZSTD_CCtx_setParameter(compressor.get(), ZSTD_c_checksumFlag, 1));

    Sha256 source_hash;
    Sha256 object_hash;
    CompressedFile result;
    std::vector<char> block(kBlock);
    std::vector<char> packed(ZSTD_CStreamOutSize());
    for (bool last = false; !last;) {
        const std::size_t got = input.read(block);
        last = got == 0;
        source_hash.add({block.data(), got});
        ZSTD_inBuffer in{block.data(), got, 0};
        for (std::size_t remaining = 1; last ? remaining != 0 : in.pos < in.size;) {
            ZSTD_outBuffer out{packed.data(), packed.size(), 0};
            remaining = checked(
                ZSTD_compressStream2(compressor.get(), &out, &in, last ? ZSTD_e_end : ZSTD_e_continue));
            output.write({packed.data(), out.pos});
            object_hash.add({packed.data(), out.pos});
            result.object_size += static_cast<std::int64_t>(out.pos);
        }
    }
    input.expect(expected);
    output.finish();
    result.source_sha256 = source_hash.hex();
    result.object_sha256 = object_hash.hex();
    return result;
}

Content content_of_object(const fs::path& object) {
    InputFile input(object);
    const Decompressor decompressor(ZSTD_createDCtx(), &ZSTD_freeDCtx);
    Sha256 hash;
    Content content;
    std::vector<char> packed(ZSTD_DStreamInSize());
    std::vector<char> block(ZSTD_DStreamOutSize());
    std::size_t hint = 1;  // 0 = a whole frame was read
    while (const std::size_t got = input.read(packed)) {
        ZSTD_inBuffer in{packed.data(), got, 0};
        bool full = false;  // the last call filled its buffer: there may be more without input
        while (in.pos < in.size || full) {
            ZSTD_outBuffer out{block.data(), block.size(), 0};
            hint = checked(ZSTD_decompressStream(decompressor.get(), &out, &in));
            hash.add({block.data(), out.pos});
            content.size += static_cast<std::int64_t>(out.pos);
            full = out.pos == out.size && hint != 0;
        }
    }
    if (hint != 0) throw std::runtime_error("the object " + printable(object.native()) + " is cut off");
    content.sha256 = hash.hex();
    return content;
}

void write_file(const fs::path& path, const fs::path& temporary, std::string_view text) {
    {
        OutputFile output(temporary);
        output.write({text.data(), text.size()});
        output.finish();
    }
    if (::rename(temporary.c_str(), path.c_str()) != 0) {
        throw std::runtime_error("cannot move the new " + printable(path.native()) +
                                 " into place: " + reason());
    }
}

std::string read_file(const fs::path& path) {
    InputFile input(path);
    std::string text;
    std::vector<char> block(kBlock);
    while (const std::size_t got = input.read(block)) text.append(block.data(), got);
    return text;
}

}  // namespace archive
