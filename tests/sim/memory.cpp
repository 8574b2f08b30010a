// SQLite's memory in the simulator: blocks by size, from one piece of memory that begins anew with every world. A world opens
// some thirty connections, and each reads the schema: a tenth of a world's time went into malloc and free. Connections of
// processes that were killed are never closed; with this they cost nothing either.
#include <sqlite3.h>

#include <bit>
#include <cstdlib>
#include <cstring>
#include <new>
#include <set>
#include <vector>

#include "sim.hpp"

namespace dbos::sim::memory {

namespace {

constexpr std::size_t kSmall = 1024;
constexpr std::size_t kSmallClasses = kSmall / 16;
constexpr std::size_t kLargest = std::size_t{1} << 20;
constexpr std::size_t kClasses = kSmallClasses + 40;  // four for each power of two
constexpr std::size_t kChunk = 4 * kLargest;

/// Multiples of 16 up to kSmall, then four sizes to each power of two.
constexpr std::size_t class_of(std::size_t size) noexcept {
    if (size <= kSmall) return size == 0 ? 0 : (size - 1) / 16;
    const auto bits = static_cast<std::size_t>(std::bit_width(size - 1));
    return kSmallClasses + (bits - 11) * 4 + ((size - 1) >> (bits - 3) & 3);
}
constexpr std::size_t size_of_class(std::size_t number) noexcept {
    if (number < kSmallClasses) return (number + 1) * 16;
    const std::size_t bits = (number - kSmallClasses) / 4 + 11;
    const std::size_t quarter = (number - kSmallClasses) % 4;
    return (std::size_t{1} << (bits - 1)) + ((quarter + 1) << (bits - 3));
}
static_assert(size_of_class(class_of(1025)) >= 1025 && class_of(size_of_class(70)) == 70);
static_assert(class_of(kLargest) < kClasses && size_of_class(class_of(kLargest)) == kLargest);

/// Before each block. SQLite needs blocks aligned to 8.
struct Header {
    std::uint32_t size;
    std::uint32_t number;  // of its class
};
constexpr std::size_t kHeader = sizeof(Header);

struct Arena {
    struct Free {
        Free* next;
    };
    std::vector<char*> chunks;
    std::size_t chunk = 0;  // the one that is handed out
    std::size_t used = 0;   // of it
    Free* free[kClasses] = {};
    // What SQLite itself keeps lies below.
    std::size_t first_chunk = 0;
    std::size_t first_used = 0;
};
constinit Arena arena;

Header& header_of(void* block) noexcept { return static_cast<Header*>(block)[-1]; }

void next_chunk() {
    if (arena.chunk < arena.chunks.size()) ++arena.chunk;
    arena.used = 0;
    if (arena.chunk == arena.chunks.size()) arena.chunks.push_back(static_cast<char*>(std::malloc(kChunk)));
}

void* take(int wanted) {
    const auto size = static_cast<std::size_t>(wanted);
    if (size > kLargest) {
        auto* header = static_cast<Header*>(std::malloc(size + kHeader));
        *header = {static_cast<std::uint32_t>(size), kClasses};
        return header + 1;
    }
    const std::size_t number = class_of(size);
    if (Arena::Free* found = arena.free[number]) {
        arena.free[number] = found->next;
        return found;
    }
    const std::size_t rounded = size_of_class(number);
    if (arena.chunk == arena.chunks.size() || arena.used + rounded + kHeader > kChunk) next_chunk();
    auto* header = reinterpret_cast<Header*>(arena.chunks[arena.chunk] + arena.used);
    arena.used += rounded + kHeader;
    *header = {static_cast<std::uint32_t>(rounded), static_cast<std::uint32_t>(number)};
    return header + 1;
}

void give_back(void* block) {
    if (!block) return;
    Header& header = header_of(block);
    if (header.number == kClasses) {
        std::free(&header);
        return;
    }
    auto*& list = arena.free[header.number];
    list = new (block) Arena::Free{list};
}

int size_of(void* block) { return block ? static_cast<int>(header_of(block).size) : 0; }

void* resize(void* block, int size) {
    if (size <= size_of(block)) return block;
    void* larger = take(size);
    std::memcpy(larger, block, header_of(block).size);
    give_back(block);
    return larger;
}

int round_up(int size) {
    const auto wanted = static_cast<std::size_t>(size);
    return static_cast<int>(wanted > kLargest ? (wanted + 7) / 8 * 8 : size_of_class(class_of(wanted)));
}

int begin(void*) { return SQLITE_OK; }
void end(void*) {}

}  // namespace

bool installed() noexcept {
    // A sanitizer wants to see every block.
#if defined(__SANITIZE_ADDRESS__) || defined(DBOS_UNDER_TSAN)
    return false;
#else
    return true;
#endif
}

void install() {
    if (!installed()) return;
    const sqlite3_mem_methods methods = {take, give_back, resize, size_of, round_up, begin, end, nullptr};
    sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}

void keep() noexcept {
    arena.first_chunk = arena.chunk;
    arena.first_used = arena.used;
}

void reset() noexcept {
    arena.chunk = arena.first_chunk;
    arena.used = arena.first_used;
    for (auto*& list : arena.free) list = nullptr;
}

void begin_piece() {
    constexpr std::size_t kLargestPiece = kChunk / 4;
    for (auto*& list : arena.free) list = nullptr;  // blocks of other pieces
    if (arena.chunk == arena.chunks.size() || arena.used + kLargestPiece > kChunk) next_chunk();
    keep();
}

Piece end_piece() {
    if (arena.chunk != arena.first_chunk) fail("the memory of a connection does not fit into one piece");
    std::set<const void*> unused;
    for (auto*& list : arena.free) {
        for (const Arena::Free* block = list; block; block = block->next) unused.insert(block);
        list = nullptr;
    }
    Piece piece;
    char* const end = arena.chunks[arena.chunk] + arena.used;
    bool follows = false;
    for (char* at = arena.chunks[arena.chunk] + arena.first_used; at < end;) {
        char* const block = at + kHeader;
        char* const next = block + header_of(block).size;
        const bool used = !unused.contains(block);
        if (used && !follows) piece.runs.push_back({at, {}});
        if (used) piece.runs.back().bytes.insert(piece.runs.back().bytes.end(), at, next);
        follows = used;
        at = next;
    }
    keep();
    return piece;
}

void put_back(const Piece& piece) noexcept {
    for (const auto& [begin, bytes] : piece.runs) std::memcpy(begin, bytes.data(), bytes.size());
}

}  // namespace dbos::sim::memory
