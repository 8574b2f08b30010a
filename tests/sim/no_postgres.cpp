// What the PostgreSQL driver would be: simulated worlds are on SQLite.
#include "dbos/error.hpp"
#include "sql/borrowed.hpp"
#include "sql/open.hpp"
#include "sql/source.hpp"

namespace dbos::sql {

namespace {
[[noreturn]] void refuse() { throw UsageError("there is no PostgreSQL in a simulated world"); }
}  // namespace

namespace postgres {
std::unique_ptr<Connection> open_postgres(const OpenOptions&) { refuse(); }
std::unique_ptr<Connection> make_unconnected(const OpenOptions&) { refuse(); }
void connect(Connection&, const OpenOptions&) { refuse(); }
bool create_database_if_missing(const Url&) { refuse(); }
Url url_of(const pg_conn*) { refuse(); }
}  // namespace postgres

std::unique_ptr<Connection> borrow(pg_conn*, const std::string&) { refuse(); }
std::string identity(pg_conn*) { refuse(); }

struct Listener::Impl {};
Listener::Listener(OpenOptions, std::vector<std::string>, Handler) { refuse(); }
Listener::~Listener() = default;
bool Listener::connected() const noexcept { return false; }
bool Listener::self_test(seam::Duration) { refuse(); }

}  // namespace dbos::sql
