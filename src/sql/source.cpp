#include "sql/source.hpp"

namespace dbos {

namespace {

void require(bool given, const char* what) {
    if (!given) throw ConfigError(std::string(what) + ": expected two functions, got an empty one");
}

}  // namespace

std::shared_ptr<ConnectionSource> postgres_connections(std::function<pg_conn*()> acquire,
                                                       std::function<void(pg_conn*, bool)> release) {
    require(acquire && release, "postgres_connections");
    auto source = std::make_shared<ConnectionSource>();
    source->acquire_postgres = std::move(acquire);
    source->release_postgres = std::move(release);
    return source;
}

std::shared_ptr<ConnectionSource> sqlite_connections(std::function<sqlite3*()> acquire,
                                                     std::function<void(sqlite3*, bool)> release) {
    require(acquire && release, "sqlite_connections");
    auto source = std::make_shared<ConnectionSource>();
    source->acquire_sqlite = std::move(acquire);
    source->release_sqlite = std::move(release);
    return source;
}

namespace sql {

namespace {

template <class Connection, class Look>
Url look(const std::function<Connection*()>& from, const std::function<void(Connection*, bool)>& back,
         const Look& url) {
    Connection* const connection = acquire(from);
    struct Back {
        const std::function<void(Connection*, bool)>& release;
        Connection* connection;
        ~Back() { release(connection, true); }
    } const given{back, connection};
    return url(connection);
}

}  // namespace

Url url_of(const ConnectionSource& source) {
    if (source.sqlite()) return look(source.acquire_sqlite, source.release_sqlite, sqlite::url_of);
    return look(source.acquire_postgres, source.release_postgres, postgres::url_of);
}

}  // namespace sql
}  // namespace dbos
