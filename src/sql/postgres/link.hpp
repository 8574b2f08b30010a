// One libpq connection without its blocking calls: every wait is poll() on the socket and a wake descriptor.
#pragma once

#include <libpq-fe.h>

#include <memory>
#include <string>
#include <string_view>

#include "sql/connection.hpp"

namespace dbos::sql::postgres {

struct ResultDeleter {
    void operator()(PGresult* result) const noexcept { PQclear(result); }
};
using ResultPtr = std::unique_ptr<PGresult, ResultDeleter>;

/// The kind of an SQLSTATE (see DatabaseErrorKind).
DatabaseErrorKind kind_of(std::string_view sqlstate);

/// The error that the server answered. `what` names the statement. The text holds the server's message and detail, but
/// neither parameters nor their context lines. A session that the server ends is reported as kind `connection`.
DatabaseError error_of(const PGresult* result, std::string_view what, bool outcome_unknown);

/// Whether the server ends the session with this error (severity FATAL or PANIC).
bool is_fatal(const PGresult* result);

/// Thrown by a Link when the connection is lost or interrupted; the caller, who knows what was at stake, turns it into a
/// DatabaseError.
struct LinkLost {
    std::string message;
};

class Link {
   public:
    Link() = default;
    ~Link() { close(); }
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;

    /// Connects, or throws DatabaseError (`connection`, `permission`, …). `database` replaces the one of the URL.
    void connect(const OpenOptions& options, std::string_view database = {});
    void close() noexcept;
    /// Leaves the socket to another process (after a fork) without a word to the server.
    void forget() noexcept { connection_ = nullptr; }
    /// Whether the connection is the caller's.
    bool lent() const noexcept { return source_ != nullptr; }
    /// An interrupt that was seen is over.
    void clear_interrupt() noexcept { interrupted_.store(false); }
    bool open() const noexcept { return connection_ != nullptr && PQstatus(connection_) == CONNECTION_OK; }
    /// Whether an idle connection still stands: looks for a hang-up or a farewell of the server, without waiting.
    bool alive() noexcept;
    PGconn* get() const noexcept { return connection_; }
    /// Whether the settings of `pinned_plans` could not go with the start-up packet.
    bool plans_unpinned() const noexcept { return plans_unpinned_; }

    /// The next result of what was sent; nullptr ends the results of one statement. Throws LinkLost.
    ResultPtr next();
    /// Waits for input and reads it. False if the time has passed. Throws LinkLost.
    bool wait_input(seam::Duration timeout);
    /// Sends one text by the simple protocol and returns its last result, the first failed one if any. Not in pipeline mode.
    ResultPtr simple(const char* text);
    /// Throws LinkLost with libpq's message.
    [[noreturn]] void lost() const;

    /// Thread-safe: the call that waits, or the next one, throws LinkLost.
    void interrupt() noexcept;
    bool interrupted() const noexcept { return interrupted_.load(); }

   private:
    void attempt(const OpenOptions& options, std::string_view database, bool with_settings);
    void borrow(const OpenOptions& options);
    void give_back() noexcept;
    void poll_connect(const OpenOptions& options, seam::Duration timeout);
    [[noreturn]] void refuse(const OpenOptions& options);
    void cancel_local() noexcept;
    bool wait_socket(bool for_write, seam::Duration timeout);

    PGconn* connection_ = nullptr;
    std::shared_ptr<ConnectionSource> source_;  // whose connection it is, if it is not ours
    bool plans_unpinned_ = false;
    seam::Duration reply_timeout_ = seam::Duration::max();
    seam::Waker waker_;
    seam::Atomic<bool> interrupted_{false};
};

/// Names and values of the settings of OpenOptions::pinned_plans.
struct PlanSetting {
    const char* name;
    const char* value;
};
inline constexpr PlanSetting kPlanSettings[] = {{"enable_seqscan", "off"},
                                                {"enable_hashjoin", "off"},
                                                {"enable_mergejoin", "off"},
                                                {"jit", "off"},
                                                {"plan_cache_mode", "force_generic_plan"}};

}  // namespace dbos::sql::postgres
