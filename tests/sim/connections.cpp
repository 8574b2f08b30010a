// Connections that have read the schema and prepared their statements before the world begins. A world opens some twenty
// connections, and each parsed the same schema and the same statements: half of a world's time. These were opened once, on an image of
// the file that worlds begin with, and their memory is put back for each world; sqlite3_open_v2 and sqlite3_prepare_v3 (--wrap)
// hand them out. They are SQLite's own, and nothing is done in its stead: the file handle now is one of the world's file, SQLite finds
// another change counter there, drops the pages of the image, finds the log, and compares the number of the schema in each
// transaction. A parse passes no point of the simulator, so worlds are the same, hash by hash, with and without this; sanitizers
// do without. Which statements a connection will want is learned from some worlds that a child plays beforehand.
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sim.hpp"

// NOLINTBEGIN(readability-identifier-naming): the linker's names for a function that is wrapped
extern "C" {
int __real_sqlite3_open_v2(const char* path, sqlite3** database, int flags, const char* vfs);
int __real_sqlite3_close(sqlite3* database);
int __real_sqlite3_close_v2(sqlite3* database);
int __real_sqlite3_exec(sqlite3* database, const char* text, int (*row)(void*, int, char**, char**),
                        void* argument, char** error);
int __real_sqlite3_prepare_v3(sqlite3* database, const char* text, int size, unsigned flags,
                              sqlite3_stmt** statement, const char** rest);
}
// NOLINTEND(readability-identifier-naming)

namespace dbos::sim::connections {

namespace {

constexpr const char* kForeignKeys =
    "PRAGMA foreign_keys = ON";  // expires statements, so it comes before them
constexpr std::size_t kOfNoRole = 20;
constexpr std::size_t kToSpare = 2;

/// What is known of the connections that a thread of this name opens first, second …
struct Role {
    std::size_t opened = 0;
    std::size_t in_one_world = 0;  // at most
    std::map<std::string, std::size_t> texts;
    bool wants(const std::string& text, std::size_t times) const {
        return times * 2 >= opened && text[0] != 'P';
    }
};
struct Connection {
    sqlite3* database = nullptr;
    memory::Piece piece;
    bool foreign_keys = false;
    std::vector<std::pair<std::string_view, sqlite3_stmt*>> statements;
};
struct InUse {
    const Connection* made = nullptr;
    bool foreign_keys = false;  // set before anybody asked for it
    std::vector<bool> taken;    // of the statements
};

std::map<std::string, Role> roles;
std::map<std::string, std::vector<Connection>> made;
// Of the world that runs.
std::map<std::string, std::size_t> opened;  // by role
std::map<std::pair<int, std::string>, int> opened_by;
std::unordered_map<sqlite3*, InUse> in_use;
bool learning = false;
std::unordered_map<sqlite3*, std::string> roles_in_use;

sqlite3* make(const char* path) {
    const vfs::InImages images;
    sqlite3* database = nullptr;
    constexpr int kFlags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    if (__real_sqlite3_open_v2(path, &database, kFlags, "sim") != SQLITE_OK ||
        __real_sqlite3_exec(database, "SELECT 1 FROM sqlite_master LIMIT 1", nullptr, nullptr, nullptr) !=
            SQLITE_OK)
        fail("the image of the database cannot be opened: " + std::string(sqlite3_errmsg(database)));
    return database;
}

Connection make_for(const Role& role, const char* path) {
    memory::begin_piece();
    Connection connection;
    connection.database = make(path);
    const auto keys = role.texts.find(kForeignKeys);
    connection.foreign_keys = keys != role.texts.end() && keys->second == role.opened;
    if (connection.foreign_keys)
        __real_sqlite3_exec(connection.database, kForeignKeys, nullptr, nullptr, nullptr);
    for (const auto& [text, times] : role.texts) {
        if (!role.wants(text, times)) continue;
        sqlite3_stmt* statement = nullptr;
        __real_sqlite3_prepare_v3(connection.database, text.c_str(), -1, SQLITE_PREPARE_PERSISTENT,
                                  &statement, nullptr);
        if (statement) connection.statements.emplace_back(text, statement);
    }
    sqlite3_db_release_memory(connection.database);  // pages of the image
    connection.piece = memory::end_piece();
    return connection;
}

/// A client's connections do not create the file.
std::string role_of_next(bool creates) {
    const std::string task = quiet() ? "oracle" : task_name();
    const int number = ++opened_by[{quiet() ? -1 : current_process(), task}];
    return task + "#" + std::to_string(number) + (creates ? ", creates" : "");
}

/// One that was made before, or now: the same for the world.
sqlite3* take(const char* path, bool creates) {
    std::string role = role_of_next(creates);
    auto found = made.find(role);
    if (found == made.end() || opened[role] >= found->second.size()) found = made.find("");
    std::size_t& number = opened[found == made.end() ? role : found->first];
    if (learning) ++number;
    if (found == made.end() || number >= found->second.size()) {
        sqlite3* const database = [&] {
            if (quiet()) return make(path);
            const Quiet nobody_else;
            return make(path);
        }();
        if (learning) {
            Role& learned = roles[role];
            ++learned.opened;
            learned.in_one_world = std::max(learned.in_one_world, number);
            roles_in_use[database] = std::move(role);
        }
        return database;
    }
    const Connection& connection = found->second[number++];
    in_use[connection.database] = {&connection, connection.foreign_keys,
                                   std::vector<bool>(connection.statements.size())};
    return connection.database;
}

int open(const char* path, sqlite3** database, int flags, const char* vfs) {
    const Unseen unseen;
    if (!vfs::is_from_image(path)) return __real_sqlite3_open_v2(path, database, flags, vfs);
    *database = take(path, (flags & SQLITE_OPEN_CREATE) != 0);
    sqlite3_file* file = nullptr;
    sqlite3_file_control(*database, "main", SQLITE_FCNTL_FILE_POINTER, static_cast<void*>(&file));
    vfs::move_out(file);
    vfs::attach(*database);
    return SQLITE_OK;
}

void learn(sqlite3* database, const char* text) {
    if (!learning) return;
    const auto role = roles_in_use.find(database);
    if (role != roles_in_use.end()) ++roles[role->second].texts[text];
}

InUse* find(sqlite3* database) {
    const auto found = in_use.find(database);
    return found == in_use.end() ? nullptr : &found->second;
}

/// Nobody has asked for what was set beforehand.
void undo_foreign_keys(sqlite3* database, InUse* connection) {
    if (!connection || !std::exchange(connection->foreign_keys, false)) return;
    __real_sqlite3_exec(database, "PRAGMA foreign_keys = OFF", nullptr, nullptr, nullptr);
}

/// Whether the statement has been executed beforehand.
bool is_done(sqlite3* database, const char* text) {
    const Unseen unseen;
    learn(database, text);
    InUse* const connection = find(database);
    if (connection && std::string_view(kForeignKeys) == text &&
        std::exchange(connection->foreign_keys, false))
        return true;
    undo_foreign_keys(database, connection);
    return false;
}

sqlite3_stmt* take_prepared(sqlite3* database, const char* text) {
    const Unseen unseen;
    learn(database, text);
    InUse* const connection = find(database);
    undo_foreign_keys(database, connection);
    if (!connection) return nullptr;
    const auto& statements = connection->made->statements;
    for (std::size_t i = 0; i < statements.size(); ++i) {
        if (connection->taken[i] || statements[i].first != text) continue;
        connection->taken[i] = true;
        return statements[i].second;
    }
    return nullptr;
}

void let_go(sqlite3* database) {
    const Unseen unseen;
    roles_in_use.erase(database);
    const InUse* const connection = find(database);
    if (!connection) return;
    for (std::size_t i = 0; i < connection->taken.size(); ++i) {
        if (!connection->taken[i]) sqlite3_finalize(connection->made->statements[i].second);
    }
    in_use.erase(database);
}

// What a child learns comes back as texts that end with NUL: role, connections, connections of one world, and for each text
// its number and itself; an empty one ends the role.
std::string as_text() {
    std::string all;
    const auto add = [&all](const std::string& text) { (all += text) += '\0'; };
    for (const auto& [name, role] : roles) {
        add(name);
        add(std::to_string(role.opened));
        add(std::to_string(role.in_one_world));
        for (const auto& [text, times] : role.texts) {
            add(std::to_string(times));
            add(text);
        }
        add("");
    }
    return all;
}

void from_text(const std::string& all) {
    std::size_t at = 0;
    const auto next = [&] {
        const std::string text = all.c_str() + at;
        at += text.size() + 1;
        return text;
    };
    while (at < all.size()) {
        Role& role = roles[next()];
        role.opened = std::stoul(next());
        role.in_one_world = std::stoul(next());
        for (std::string times = next(); !times.empty(); times = next())
            role.texts[next()] = std::stoul(times);
    }
}

/// Plays in a child, where it harms nobody. Nothing is learned if it fails: that is for a campaign to say.
void learn_from(const std::function<void()>& rehearsal) {
    constexpr unsigned kAtMostSeconds = 300;
    int ends[2];
    if (::pipe(ends) != 0) return;
    const pid_t child = ::fork();
    if (child == 0) {
        ::alarm(kAtMostSeconds);
        on_failure = [](const std::string&) { std::_Exit(7); };
        learning = true;
        rehearsal();
        const std::string all = as_text();
        for (std::size_t at = 0; at < all.size();) {
            const ssize_t put = ::write(ends[1], all.data() + at, all.size() - at);
            if (put <= 0) std::_Exit(7);
            at += static_cast<std::size_t>(put);
        }
        std::_Exit(0);
    }
    ::close(ends[1]);
    std::string all;
    char buffer[4096];
    for (ssize_t got = 0; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;)
        all.append(buffer, static_cast<std::size_t>(got));
    ::close(ends[0]);
    int status = 0;
    if (child > 0 && ::waitpid(child, &status, 0) == child && status == 0) from_text(all);
}

}  // namespace

void prepare(const std::string& path, const std::string& bytes, const std::function<void()>& rehearsal) {
    vfs::put_image(path, bytes);
    if (!memory::installed()) return;
    learn_from(rehearsal);
    for (const auto& [name, role] : roles) {
        while (made[name].size() < role.in_one_world + kToSpare)
            made[name].push_back(make_for(role, path.c_str()));
    }
    while (made[""].size() < kOfNoRole) made[""].push_back(make_for({}, path.c_str()));
}

void reset() noexcept {
    for (const auto& [role, number] : opened) {
        const auto found = made.find(role);
        if (found == made.end()) continue;
        for (std::size_t i = 0; i < number && i < found->second.size(); ++i)
            memory::put_back(found->second[i].piece);
    }
    opened.clear();
    opened_by.clear();
    in_use.clear();
    roles_in_use.clear();
}

}  // namespace dbos::sim::connections

// NOLINTBEGIN(readability-identifier-naming): as above
extern "C" {

int __wrap_sqlite3_open_v2(const char* path, sqlite3** database, int flags, const char* vfs) {
    return dbos::sim::connections::open(path, database, flags, vfs);
}

int __wrap_sqlite3_close(sqlite3* database) {
    dbos::sim::connections::let_go(database);
    return __real_sqlite3_close(database);
}

int __wrap_sqlite3_close_v2(sqlite3* database) {
    dbos::sim::connections::let_go(database);
    return __real_sqlite3_close_v2(database);
}

int __wrap_sqlite3_exec(sqlite3* database, const char* text, int (*row)(void*, int, char**, char**),
                        void* argument, char** error) {
    if (dbos::sim::connections::is_done(database, text)) return SQLITE_OK;
    return __real_sqlite3_exec(database, text, row, argument, error);
}

int __wrap_sqlite3_prepare_v3(sqlite3* database, const char* text, int size, unsigned flags,
                              sqlite3_stmt** statement, const char** rest) {
    if (flags == SQLITE_PREPARE_PERSISTENT && !rest) {
        *statement = dbos::sim::connections::take_prepared(database, text);
        if (*statement) return SQLITE_OK;
    }
    return __real_sqlite3_prepare_v3(database, text, size, flags, statement, rest);
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming)
