// Connections that have read the schema before the world begins. A world opens some twenty connections, and each parsed the same
// schema: a third of a world's time. These are opened once, on an image of the file that worlds begin with, and their memory is put
// back for each world; sqlite3_open_v2 (--wrap) hands them out. That is SQLite's own connection, with nothing done in its stead: its
// handle now reads the world's file, it finds another change counter there, drops the pages of the image, finds the log, and
// compares the number of the schema in each transaction.
#include <sqlite3.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "sim.hpp"

extern "C" int __real_sqlite3_open_v2(const char* path, sqlite3** database, int flags, const char* vfs);

namespace dbos::sim::connections {

namespace {

constexpr std::size_t kMade = 40;  // more are made when they are wanted

struct Connection {
    sqlite3* database = nullptr;
    memory::Piece piece;
};
std::vector<Connection> made;
std::size_t used = 0;

sqlite3* make(const char* path) {
    const vfs::InImages images;
    sqlite3* database = nullptr;
    constexpr int kFlags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    if (__real_sqlite3_open_v2(path, &database, kFlags, "sim") != SQLITE_OK ||
        sqlite3_exec(database, "SELECT 1 FROM sqlite_master LIMIT 1", nullptr, nullptr, nullptr) != SQLITE_OK)
        fail("the image of the database cannot be opened: " + std::string(sqlite3_errmsg(database)));
    return database;
}

/// The same whether it was made before or is made now.
sqlite3* take(const char* path) {
    if (used < made.size()) return made[used++].database;
    if (!quiet()) {
        const Quiet nobody_else;
        return make(path);
    }
    return make(path);
}

int open(const char* path, sqlite3** database, int flags, const char* vfs) {
    const Unseen unseen;
    if (!vfs::is_from_image(path)) return __real_sqlite3_open_v2(path, database, flags, vfs);
    *database = take(path);
    sqlite3_file* file = nullptr;
    sqlite3_file_control(*database, "main", SQLITE_FCNTL_FILE_POINTER, static_cast<void*>(&file));
    vfs::move_out(file);
    vfs::attach(*database);
    return SQLITE_OK;
}

}  // namespace

void prepare(const std::string& path, const std::string& bytes) {
    vfs::put_image(path, bytes);
    if (!memory::installed()) return;
    while (made.size() < kMade) {
        memory::begin_piece();
        sqlite3* const database = make(path.c_str());
        made.push_back({database, memory::end_piece()});
    }
}

void reset() noexcept {
    for (std::size_t i = 0; i < used; ++i) {
        const auto& [begin, bytes] = made[i].piece;
        std::copy(bytes.begin(), bytes.end(), begin);
    }
    used = 0;
}

}  // namespace dbos::sim::connections

extern "C" int __wrap_sqlite3_open_v2(const char* path, sqlite3** database, int flags, const char* vfs) {
    return dbos::sim::connections::open(path, database, flags, vfs);
}
