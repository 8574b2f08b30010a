// The driver seam: one connection to a system database, PostgreSQL or SQLite.
//
// A Statement is a constant with a name and a text; a connection prepares it once. In texts:
//   $1, $2, …     parameters (rewritten for SQLite)
//   @table        a table or function of the system schema: "dbos".table on PostgreSQL, table on SQLite
// A connection belongs to one thread at a time. All calls block, and throw dbos::DatabaseError; nothing is retried here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "dbos/error.hpp"
#include "platform/seam.hpp"

struct pg_conn;
struct sqlite3;

namespace dbos {
class ConnectionSource;
}

namespace dbos::sql {

enum class Backend : std::uint8_t { postgres, sqlite };

/// What a statement does, for the seam's fault plan and for read-only routing.
enum class Access : std::uint8_t { read, write };

/// A statement text with a stable name; objects are constants with static storage, identified by address.
struct Statement {
    const char* name;
    const char* text;
    Access access = Access::write;
};

using TextArray = std::vector<std::optional<std::string_view>>;  // text[]; nullopt = SQL NULL
using IntArray = std::vector<std::optional<std::int64_t>>;  // bigint[]; cast in the text where INT4 is needed
using BoolArray = std::vector<std::optional<bool>>;         // boolean[]

/// One typed parameter. Texts are views: they must live until the call returns. Arrays go out in binary on PostgreSQL
/// and as a JSON text (for json_each) on SQLite.
using Param = std::variant<std::monostate, bool, std::int64_t, double, std::string_view, TextArray, IntArray,
                           BoolArray>;
using Params = std::vector<Param>;

inline Param opt(const std::optional<std::string>& v) { return v ? Param(std::string_view(*v)) : Param(); }
inline Param opt(const std::optional<std::int64_t>& v) { return v ? Param(*v) : Param(); }

/// A column value of a result: a view into the result, or NULL.
class Cell {
   public:
    Cell() = default;
    explicit Cell(std::string_view text) : text_(text), null_(false) {}
    bool null() const noexcept { return null_; }
    /// The text form (PostgreSQL's, SQLite's); empty for NULL.
    std::string_view text() const noexcept { return text_; }
    std::string string() const { return std::string(text_); }
    std::optional<std::string> optional_text() const {
        return null_ ? std::nullopt : std::optional(string());
    }
    /// A number; a fraction is cut off (SQLite files of other SDKs hold real timestamps). Throws on other text.
    std::int64_t integer() const;
    std::optional<std::int64_t> optional_integer() const {
        return null_ ? std::nullopt : std::optional(integer());
    }
    double real() const;
    bool boolean() const;  // t, true, 1; NULL = false

   private:
    std::string_view text_;
    bool null_ = true;
};

/// Rows of one statement. Movable; cells are valid as long as the result lives.
class Result {
   public:
    struct Rows {  // what a driver fills
        virtual ~Rows() = default;
        virtual std::size_t rows() const noexcept = 0;
        virtual std::size_t columns() const noexcept = 0;
        virtual Cell cell(std::size_t row, std::size_t column) const = 0;
        virtual std::string_view column_name(std::size_t column) const = 0;
    };
    Result() = default;
    Result(std::unique_ptr<Rows> rows, std::int64_t affected) : rows_(std::move(rows)), affected_(affected) {}
    std::size_t size() const noexcept { return rows_ ? rows_->rows() : 0; }
    bool empty() const noexcept { return size() == 0; }
    std::size_t columns() const noexcept { return rows_ ? rows_->columns() : 0; }
    Cell at(std::size_t row, std::size_t column) const { return rows_->cell(row, column); }
    /// Index of a column by name; throws std::out_of_range.
    std::size_t column(std::string_view name) const;
    /// Rows changed by INSERT, UPDATE or DELETE without RETURNING.
    std::int64_t affected() const noexcept { return affected_; }

   private:
    std::unique_ptr<Rows> rows_;
    std::int64_t affected_ = 0;
};

struct Call {
    const Statement* statement;
    Params params;
    /// The last call of a pipeline only: in a transaction of its own behind that of the others, whatever becomes of them, and
    /// nobody is told what becomes of it. What has to follow a commit needs no second round trip then, and no lock that it
    /// takes is held while the commit waits for the disk. PostgreSQL, outside of transactions.
    bool behind = false;
};

enum class Isolation : std::uint8_t { read_committed, repeatable_read, serializable, read_only };

/// A connection as the program's own code gets it: one of the two.
struct Lent {
    pg_conn* postgres = nullptr;
    sqlite3* sqlite = nullptr;
};

/// What the program's code has left behind.
struct Returned {
    enum class State : std::uint8_t {
        open,    // our transaction, as it was lent
        failed,  // the same, and a statement of it has failed: only a rollback is left (PostgreSQL)
        ended,   // the code has committed it or rolled it back, or SQLite has
        busy,    // a command is in progress, or its results were not read: the connection was closed
        broken   // the connection was lost
    };
    State state = State::open;
    /// SQLSTATE (SQLite: `sqlite:<code>`) of the last error that the code met, as far as it is known.
    std::string error = {};
};

class Connection {
   public:
    using Meanwhile = std::function<void()>;

    virtual ~Connection() = default;
    virtual Backend backend() const noexcept = 0;

    /// Executes one prepared statement. Outside a transaction it commits by itself.
    virtual Result execute(const Statement& statement, const Params& params = {}) = 0;
    /// Executes a statement whose text is made at run time (filters, DDL); cached by text, least recently used first out.
    virtual Result query(const std::string& text, const Params& params = {},
                         Access access = Access::read) = 0;
    /// Several statements without parameters, in one go (DDL). @names are expanded.
    virtual void script(const std::string& text) = 0;

    /// All calls in one transaction and, on PostgreSQL, one round trip (pipeline; implicit transaction up to the sync,
    /// or the open one). SQLite: BEGIN IMMEDIATE … COMMIT unless a transaction is open. Results stand in order.
    /// If one fails, none is applied and its error is thrown; apart from that stands a Call::behind.
    /// `meanwhile` is called when everything has been sent, before the results are waited for: never on SQLite, not if
    /// sending fails, and twice if the calls are repeated. It must not throw, nor use this connection.
    virtual std::vector<Result> pipeline(std::span<const Call> calls, const Meanwhile& meanwhile) = 0;
    std::vector<Result> pipeline(std::span<const Call> calls) { return pipeline(calls, {}); }

    /// SQLite: BEGIN IMMEDIATE (read_only: BEGIN).
    virtual void begin(Isolation isolation = Isolation::read_committed) = 0;
    /// Throws DatabaseError with outcome_unknown() if the acknowledgement was lost.
    virtual void commit() = 0;
    virtual void rollback() noexcept = 0;
    virtual bool in_transaction() const noexcept = 0;
    /// False once the connection has failed; the owner then replaces it.
    virtual bool usable() const noexcept = 0;
    /// SQLite with a write-ahead log: a number that grows by one with every commit to the file, whoever makes it; it starts
    /// anew when the log is recovered after a crash. Reads memory only. Nothing elsewhere.
    virtual std::optional<std::uint32_t> file_commits() noexcept { return std::nullopt; }
    /// Makes a call that is waiting on another thread fail soon (socket shut down, sqlite3_interrupt). Thread-safe.
    virtual void interrupt() noexcept = 0;

    /// Lends the connection, in the transaction that was begun on it, to the program's own code, until take_back(). That code
    /// cannot commit on SQLite; on PostgreSQL take_back() sees that it has. `read_only`: it can write nothing.
    virtual Lent lend(bool read_only);
    /// Whatever is left behind, rollback() works then (commit() only if it is `open`). An open transaction that is idle for
    /// more than ten seconds from now on is ended by the server (PostgreSQL).
    virtual Returned take_back() noexcept;
};

/// begin/commit with rollback on unwinding.
class Transaction {
   public:
    explicit Transaction(Connection& connection, Isolation isolation = Isolation::read_committed)
        : connection_(connection) {
        connection_.begin(isolation);
    }
    ~Transaction() {
        if (open_) connection_.rollback();
    }
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    void commit() {
        open_ = false;
        connection_.commit();
    }
    void rollback() noexcept {
        open_ = false;
        connection_.rollback();
    }

   private:
    Connection& connection_;
    bool open_ = true;
};

/// A parsed connection string. Forms: postgresql://… and postgres://… (every libpq parameter), sqlite:///relative,
/// sqlite:////absolute, sqlite:///:memory:, and Go's sqlite:relative, sqlite:/absolute, sqlite::memory:. SQLAlchemy driver
/// suffixes (postgresql+psycopg://) are accepted. Throws ConfigError with the password masked.
struct Url {
    Backend backend = Backend::sqlite;
    std::string conninfo;   // PostgreSQL: the URL for libpq
    std::string path;       // SQLite: the file; ":memory:"
    std::string database;   // PostgreSQL: database name, for its creation
    std::string printable;  // without the password, for logs and errors
    static Url parse(const std::string& text);
};

/// SQLite: the commits of the connections that share it, so that they can be told from those of others.
struct CommitCount {
    seam::Atomic<std::int64_t> running{0};    // others may see these already
    seam::Atomic<std::int64_t> committed{0};  // have changed the file; counted before `running` falls
    /// No less than the number of commits that anybody had seen before this call.
    std::int64_t at_most() const noexcept {
        const std::int64_t now = running.load();
        return now + committed.load();
    }
};

namespace sqlite {
class MemoryDatabase;
}
/// A `:memory:` database that outlives the pools that use it, for OpenOptions::memory.
std::shared_ptr<sqlite::MemoryDatabase> make_memory_database();
std::unique_ptr<Connection> memory_connection(sqlite::MemoryDatabase& database);

/// How a connection is opened.
struct OpenOptions {
    Url url;
    /// The caller's connections, instead of new ones.
    std::shared_ptr<ConnectionSource> source = {};
    std::string schema = "dbos";                // PostgreSQL; quoted by the driver
    std::string application_name = "dbos_cpp";  // what pg_stat_activity shows
    /// Own settings against bad plans (enable_seqscan, enable_hashjoin, enable_mergejoin, jit off, force_generic_plan), as
    /// start-up options. For the committer, claim and tick connections.
    bool pinned_plans = false;
    bool create_file = true;  // SQLite: false = a missing file is an error
    bool read_only = false;   // SQLite: a reader of the pool
    /// SQLite: for file_commits() and nothing else; the schema is not read, which is most of what opening costs.
    bool counts_commits = false;
    /// PostgreSQL: a reply that takes longer fails the call and the connection; 0 = wait as long as the sockets live.
    seam::Duration reply_timeout{0};
    /// SQLite: synchronous=FULL (default) or NORMAL (a power loss may lose the last commits).
    bool full_sync = true;
    /// SQLite: where the connection counts its commits, if anywhere.
    std::shared_ptr<CommitCount> commits = {};
    /// PostgreSQL: the server ends a transaction of ours that has been idle for longer; 0 = as the server is set. Sent with the
    /// start-up packet, so not through a pooler that refuses it, and not if the URL has `options` of its own.
    seam::Duration idle_transaction_timeout{0};
    /// The database that a `:memory:` URL means; default: one of each pool.
    std::shared_ptr<sqlite::MemoryDatabase> memory = {};
    /// Wraps every connection of a pool as it is opened; for fault injection.
    std::function<std::unique_ptr<Connection>(std::unique_ptr<Connection>)> decorate = {};
};

std::unique_ptr<Connection> open(const OpenOptions& options);

/// PostgreSQL: creates the database of the URL through a maintenance connection (database "postgres") if it is missing.
/// Returns whether it created it. SQLite: nothing to do.
bool create_database_if_missing(const Url& url);

/// A pool of connections to one database. All are opened on first use and reused; a failed one is dropped.
/// Thread-safe. `:memory:` databases: every connection of one Pool sees the same private database.
class Pool {
   public:
    Pool(OpenOptions options, std::size_t size);
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    class Lease {
       public:
        Lease(Lease&&) noexcept;
        Lease& operator=(Lease&&) = delete;
        ~Lease();
        Connection& operator*() const noexcept { return *connection_; }
        Connection* operator->() const noexcept { return connection_.get(); }

       private:
        friend class Pool;
        Lease(Pool& pool, std::unique_ptr<Connection> connection)
            : pool_(&pool), connection_(std::move(connection)) {}
        Pool* pool_;
        std::unique_ptr<Connection> connection_;
    };
    /// Waits up to 30 s for a free connection, then throws DatabaseError (kind busy).
    Lease acquire();
    /// A connection of its own outside of the pool, same database (committer, lease, claim, listener).
    std::unique_ptr<Connection> open_dedicated(bool pinned_plans);
    const OpenOptions& options() const noexcept;
    /// Every waiting and every later acquire throws kind `closed`; calls in progress are interrupted.
    void close() noexcept;

   private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// LISTEN on PostgreSQL: one connection, re-subscribed after a loss. SQLite has none (seam::WakeFile).
class Listener {
   public:
    /// Called on the listener's thread; must not throw, must not wait for long.
    struct Handler {
        std::function<void(std::string_view channel, std::string_view payload)> notified;
        /// After each subscription, the first included: everything before may have been missed, so check all once.
        std::function<void()> reconnected;
    };
    /// Returns at once; connects, and reconnects after 0.1 s to 5 s, on its own thread.
    Listener(OpenOptions options, std::vector<std::string> channels, Handler handler);
    ~Listener();  // stops the thread; calls no handler afterwards
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;
    bool connected() const noexcept;
    /// Whether a notification sent by another connection arrives within `timeout`. False behind transaction poolers, which
    /// drop LISTEN without a word. Throws DatabaseError if that other connection fails.
    bool self_test(seam::Duration timeout);

   private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// How long to wait before attempt `n` (0-based) of a transient failure: 0.1 s doubling to `cap`, times 0.5 to 1.5.
seam::Duration retry_delay(int attempt, seam::Duration cap);

}  // namespace dbos::sql
