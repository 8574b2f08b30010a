// `:memory:` databases: several connections, one handle.
#include <chrono>
#include <mutex>
#include <utility>

#include "sql/open.hpp"
#include "sql/sqlite/connection.hpp"

namespace dbos::sql::sqlite {

using namespace std::chrono_literals;

struct MemoryDatabase::Shared {
    explicit Shared(const OpenOptions& options) : connection(options) {}

    /// Hands the turn to one proxy; false after 30 s or an interrupt.
    bool enter(const seam::Atomic<bool>& interrupted) {
        std::unique_lock lock(mutex);
        const std::uint64_t ticket = next_ticket++;
        waiting.push_back(ticket);
        const seam::SteadyTime end = seam::steady_now() + 30s;
        while (taken || waiting.front() != ticket) {
            if (interrupted.load() || changed.wait_until(lock, end) == std::cv_status::timeout) {
                std::erase(waiting, ticket);
                changed.notify_all();
                return false;
            }
        }
        waiting.pop_front();
        taken = true;
        return true;
    }

    void leave() noexcept {
        const std::lock_guard lock(mutex);
        taken = false;
        changed.notify_all();
    }

    void wake() noexcept {
        const std::lock_guard lock(mutex);
        changed.notify_all();
    }

    SqliteConnection connection;
    seam::Mutex mutex;
    seam::CondVar changed;
    bool taken = false;
    std::uint64_t next_ticket = 0;
    std::deque<std::uint64_t> waiting;  // first come, first served
};

namespace {

/// A connection of its own to its user; holds the turn during a call, or from begin() to the end of the transaction.
template <class Shared>
class Proxy final : public Connection {
   public:
    explicit Proxy(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
    ~Proxy() override { rollback(); }
    Backend backend() const noexcept override { return Backend::sqlite; }

    Result execute(const Statement& statement, const Params& params) override {
        const Turn turn(*this, statement.name);
        return shared_->connection.execute(statement, params);
    }
    Result query(const std::string& text, const Params& params, Access access) override {
        const Turn turn(*this, "query");
        return shared_->connection.query(text, params, access);
    }
    void script(const std::string& text) override {
        const Turn turn(*this, "script");
        shared_->connection.script(text);
    }
    std::vector<Result> pipeline(std::span<const Call> calls, const Meanwhile& meanwhile) override {
        const Turn turn(*this, "pipeline");
        return shared_->connection.pipeline(calls, meanwhile);
    }
    void begin(Isolation isolation) override {
        if (open_) throw UsageError("begin: a transaction is already open on this connection");
        Turn turn(*this, "begin");
        shared_->connection.begin(isolation);
        turn.keep();
        open_ = true;
    }
    void commit() override {
        if (!open_) throw UsageError("commit: no transaction is open on this connection");
        const Leave leave(*this);
        shared_->connection.commit();
    }
    void rollback() noexcept override {
        if (!open_ || seam::process_id() != pid_) return;
        const Leave leave(*this);
        shared_->connection.rollback();
    }
    bool in_transaction() const noexcept override { return open_; }
    bool usable() const noexcept override { return !interrupted_.load() && shared_->connection.usable(); }
    void interrupt() noexcept override {
        interrupted_.store(true);
        shared_->wake();
    }
    Lent lend(bool read_only) override {
        const Turn turn(*this, "lend");
        return shared_->connection.lend(read_only);
    }
    Returned take_back() noexcept override { return shared_->connection.take_back(); }

   private:
    /// The turn for one call; nothing to do within a transaction.
    class Turn {
       public:
        Turn(Proxy& proxy, std::string_view what) : proxy_(proxy), taken_(!proxy.open_) {
            if (proxy.interrupted_.load()) refuse(what, true);
            if (taken_ && !proxy.shared_->enter(proxy.interrupted_)) refuse(what, proxy.interrupted_.load());
        }
        ~Turn() {
            if (taken_) proxy_.shared_->leave();
        }
        Turn(const Turn&) = delete;
        Turn& operator=(const Turn&) = delete;
        void keep() noexcept { taken_ = false; }

       private:
        [[noreturn]] static void refuse(std::string_view what, bool interrupted) {
            if (interrupted) {
                throw DatabaseError(DatabaseErrorKind::connection,
                                    std::string(what) + ": the call was interrupted");
            }
            throw DatabaseError(
                DatabaseErrorKind::busy,
                std::string(what) +
                    ": another transaction has held the :memory: database for 30 s; does this "
                    "thread hold an open transaction?",
                "sqlite:5");
        }
        Proxy& proxy_;
        bool taken_;
    };
    /// Gives the transaction's turn back on every way out.
    class Leave {
       public:
        explicit Leave(Proxy& proxy) : proxy_(proxy) {}
        ~Leave() {
            proxy_.open_ = false;
            proxy_.shared_->leave();
        }
        Leave(const Leave&) = delete;
        Leave& operator=(const Leave&) = delete;

       private:
        Proxy& proxy_;
    };

    const int pid_ = seam::process_id();
    std::shared_ptr<Shared> shared_;
    bool open_ = false;
    seam::Atomic<bool> interrupted_{false};
};

}  // namespace

MemoryDatabase::MemoryDatabase(const OpenOptions& options) : shared_(std::make_shared<Shared>(options)) {}
MemoryDatabase::~MemoryDatabase() = default;
std::unique_ptr<Connection> MemoryDatabase::connect() { return std::make_unique<Proxy<Shared>>(shared_); }

}  // namespace dbos::sql::sqlite
