// The course of a migration on PostgreSQL: lock, look, wait for peers, create or upgrade, unlock.
#include "sysdb/schema/postgres.hpp"

#include <algorithm>
#include <array>

namespace dbos::sysdb::schema {

bool is_collision(const DatabaseError& error) noexcept {
    constexpr std::array<std::string_view, 10> kCodes{"42P06", "42P07", "42701", "42710", "42723",
                                                      "42P04", "23505", "40P01", "40001", "55P03"};
    if (std::ranges::find(kCodes, error.sqlstate()) != kCodes.end()) return true;
    return error.sqlstate() == "XX000" &&
           std::string_view(error.what()).find("concurrently updated") != std::string_view::npos;
}

namespace {

using namespace std::chrono_literals;

// Advisory lock of the session. Never the blocking form: a blocked session holds a snapshot, for which CREATE INDEX
// CONCURRENTLY of the lock's holder waits, and neither ever ends.
class MigrationLock {
   public:
    explicit MigrationLock(Job& job) : job_(job) {}
    MigrationLock(const MigrationLock&) = delete;
    MigrationLock& operator=(const MigrationLock&) = delete;
    ~MigrationLock() {
        if (!held_ || !job_.connection.usable()) return;
        try {
            if (job_.connection.in_transaction()) job_.connection.rollback();
            job_.connection.query("SELECT pg_advisory_unlock($1)", {kMigrationLock}, sql::Access::write);
        } catch (const Error&) {  // the end of the session releases it
        }
    }

    /// Returns when the lock is held, when the database needs nothing any more, or without it after the time.
    void acquire() {
        const seam::SteadyTime end = seam::steady_now() + job_.options.lock_wait;
        for (seam::Duration pause = 20ms;; pause = std::min<seam::Duration>(2 * pause, 1s)) {
            const sql::Result row = job_.connection.query("SELECT pg_try_advisory_lock($1)", {kMigrationLock},
                                                          sql::Access::write);
            held_ = row.at(0, 0).boolean();
            job_.read();
            if (held_ || job_.complete()) return;
            if (seam::steady_now() >= end) {
                job_.log(LogLevel::warn, "migration lock not granted in time; going on without it",
                         {{"schema", job_.target.schema}});
                return;
            }
            seam::sleep_for(pause);
        }
    }

   private:
    Job& job_;
    bool held_ = false;
};

class PostgresMigrator {
   public:
    explicit PostgresMigrator(Job& job) : job_(job) {}

    void run() {
        MigrationLock lock(job_);
        lock.acquire();
        for (int failures = 0; !job_.complete();) {
            refuse(job_);
            const std::int64_t before = job_.state.version;
            try {
                advance();
                job_.read();
            } catch (const DatabaseError& error) {
                recover(error);
                failures = job_.state.version > before ? 0 : failures + 1;
                if (failures >= 3) throw;
                continue;
            }
            // Each successful turn completes something; a peer that undoes our work must not keep us here for ever.
            if (++turns_ > 10)
                throw ConfigError("the system database (" + job_.place() +
                                  ") does not settle: " + what_lacks());
        }
    }

   private:
    void advance() {
        const std::int64_t version = job_.state.version;
        const bool between = version < kSharedBase && !(version == 0 && job_.state.untouched());
        if (between && !waited_) {
            waited_ = true;
            wait_for_quiet();
            return;
        }
        if (version == 0 && job_.state.untouched()) {
            create_fresh();
        } else if (between || job_.damaged()) {
            upgrade_from_base();
        } else if (version < kKnownVersion) {
            for (int next = static_cast<int>(version) + 1; next <= kKnownVersion; ++next)
                step(next, version, true);
        } else {
            refuse_own_tables_closed(job_);
        }
        create_own_tables();
        grant_rights(job_);
    }

    void create_fresh() {
        job_.log(LogLevel::info, "creating the system database", {{"schema", job_.target.schema}});
        sql::Transaction transaction(job_.connection);
        // Not IF NOT EXISTS for a schema that is there: the server asks for the right to create it first.
        if (!job_.state.schema_exists)
            job_.connection.script("CREATE SCHEMA " + quote_name(job_.target.schema));
        job_.connection.script(create_everything(job_.target) + own_tables_script(job_));
        transaction.commit();
    }

    void upgrade_from_base() {
        const std::int64_t version = job_.state.version;
        job_.log(LogLevel::info, "upgrading an old system database",
                 {{"schema", job_.target.schema}, {"from", std::to_string(version)}});
        reconcile_postgres(job_);
        for (int next = kSharedBase; next <= kKnownVersion; ++next)
            step(next, version, version < kSharedBase);
    }

    // `trusted`: a recorded number proves that the step was made (not so in a damaged database).
    void step(int version, std::int64_t found, bool trusted) {
        for (int attempt = 1;; ++attempt) {
            try {
                apply_postgres(job_, version, found >= 113);
                job_.log(LogLevel::info, "migrated",
                         {{"schema", job_.target.schema}, {"version", std::to_string(version)}});
                return;
            } catch (const DatabaseError& error) {
                if (!is_collision(error) || attempt == 3) throw;
                if (job_.connection.in_transaction()) job_.connection.rollback();
                if (!trusted) {
                    seam::sleep_for(200ms);
                } else if (wait_for_version(version)) {
                    return;
                }
            }
        }
    }

    void create_own_tables() {
        job_.read();
        const std::string script = own_tables_script(job_);
        if (script.empty()) return;
        sql::Transaction transaction(job_.connection);
        job_.connection.script(script);
        transaction.commit();
    }

    // A collision is waited out; anything else goes to the caller.
    void recover(const DatabaseError& error) {
        if (!job_.connection.usable()) throw error;
        if (job_.connection.in_transaction()) job_.connection.rollback();
        if (!is_collision(error)) throw error;
        job_.log(LogLevel::warn, "another process is changing the schema; waiting",
                 {{"error", error.what()}});
        wait_for_version(kKnownVersion);
    }

    bool wait_for_version(std::int64_t wanted) {
        const seam::SteadyTime end = seam::steady_now() + 10s;
        std::int64_t last = job_.state.version;
        for (;;) {
            job_.read();
            if (job_.state.version >= wanted) return true;
            if (seam::steady_now() >= end) return false;
            last = std::max(last, job_.state.version);
            seam::sleep_for(200ms);
        }
    }

    // SDKs without a lock migrate one version at a time: a version that still changes is being worked on.
    void wait_for_quiet() {
        const seam::SteadyTime end = seam::steady_now() + job_.options.peer_wait;
        seam::SteadyTime changed = seam::steady_now();
        for (std::int64_t last = job_.state.version;;) {
            const seam::SteadyTime now = seam::steady_now();
            if (now - changed >= job_.options.peer_quiet || now >= end) return;
            seam::sleep_for(std::min<seam::Duration>(200ms, job_.options.peer_quiet));
            job_.read();
            if (job_.state.version != last) {
                last = job_.state.version;
                changed = seam::steady_now();
            }
        }
    }

    std::string what_lacks() const {
        std::string out = "version " + std::to_string(job_.state.version);
        for (const std::string& name : job_.state.missing()) out += ", no " + name;
        if (!job_.state.has_own_tables()) out += ", no complete dbos_cpp_executors";
        return out;
    }

    Job& job_;
    bool waited_ = false;
    int turns_ = 0;
};

}  // namespace

MigrateResult migrate_postgres(Job& job) {
    MigrateResult result{job.state.version, job.state.version, false};
    if (job.complete() && job.options.application_role.empty()) return result;
    const sql::Result server = job.connection.query("SELECT version()");
    std::string name = server.at(0, 0).string();
    std::ranges::transform(name, name.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    job.target.cockroach = name.find("cockroachdb") != std::string::npos;

    const bool complete = job.complete();
    if (complete) {
        grant_rights(job);
    } else {
        PostgresMigrator(job).run();
    }
    result.version = job.state.version;
    result.changed = !complete;
    return result;
}

}  // namespace dbos::sysdb::schema
