#include "sql/postgres/link.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <utility>

#include "sql/source.hpp"

namespace dbos::sql::postgres {

using namespace std::chrono_literals;

namespace {

/// The parameters of the connection string; those not given are absent.
std::map<std::string, std::string> parameters_of(const std::string& conninfo) {
    std::map<std::string, std::string> parameters;
    char* message = nullptr;
    PQconninfoOption* options = PQconninfoParse(conninfo.c_str(), &message);
    PQfreemem(message);
    for (const PQconninfoOption* option = options; option != nullptr && option->keyword != nullptr;
         ++option) {
        if (option->val != nullptr) parameters.emplace(option->keyword, option->val);
    }
    PQconninfoFree(options);
    return parameters;
}

std::string plan_options() {
    std::string text;
    for (const auto& setting : kPlanSettings) {
        if (!text.empty()) text += ' ';
        text += std::string("-c ") + setting.name + '=' + setting.value;
    }
    return text;
}

/// Waits longer than a libpq reply can take are bounded by the sockets' own time-outs.
seam::Duration connect_timeout_of(const std::map<std::string, std::string>& parameters) {
    constexpr long kShortest = 2;  // libpq: fewer seconds are rounded up to two
    const auto given = parameters.find("connect_timeout");
    const long seconds = given == parameters.end() ? 10 : std::atol(given->second.c_str());
    if (seconds <= 0) return seam::Duration::max();
    long hosts = 1;
    for (const char* key : {"host", "hostaddr"}) {
        if (const auto list = parameters.find(key); list != parameters.end()) {
            hosts = std::max(hosts, 1 + static_cast<long>(std::ranges::count(list->second, ',')));
        }
    }
    return std::chrono::seconds(std::max(seconds, kShortest) * hosts);
}

std::string trimmed(std::string_view text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
    return std::string(text);
}

/// The verbose form of a refused connection: `…: FATAL:  28P01: message`, then a LOCATION line.
struct Refusal {
    std::string message;
    std::string sqlstate;
};
Refusal parse_refusal(std::string_view text) {
    Refusal refusal;
    for (std::size_t start = 0; start < text.size();) {
        std::size_t end = text.find('\n', start);
        if (end == std::string_view::npos) end = text.size();
        std::string line(text.substr(start, end - start));
        start = end + 1;
        if (line.starts_with("LOCATION:")) continue;
        for (std::size_t at = line.find(":  "); at != std::string::npos; at = line.find(":  ", at + 1)) {
            const std::string_view rest = std::string_view(line).substr(at + 3);
            const auto is_code = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z'); };
            if (rest.size() < 7 || rest.substr(5, 2) != ": " ||
                !std::ranges::all_of(rest.substr(0, 5), is_code))
                continue;
            refusal.sqlstate = rest.substr(0, 5);
            line.erase(at + 3, 7);
            break;
        }
        if (!refusal.message.empty()) refusal.message += '\n';
        refusal.message += line;
    }
    refusal.message = trimmed(refusal.message);
    return refusal;
}

/// Asks the server to end a statement, and waits for its answer, but not for long: libpq does it with a blocking connection,
/// and the peer may be stopped, or a relay whose other end is gone. Then the thread is left behind, with all that it needs.
void cancel_briefly(PGconn* connection) {
    struct Request {
        explicit Request(PGconn* link) : cancel(PQgetCancel(link), &PQfreeCancel) {}
        std::unique_ptr<PGcancel, decltype(&PQfreeCancel)> cancel;
        seam::Mutex mutex;
        seam::CondVar changed;
        bool done = false;
    };
    const auto request = std::make_shared<Request>(connection);
    if (!request->cancel) return;
    seam::Thread thread = seam::spawn("dbos-cancel", [request] {
        char message[256];
        PQcancel(request->cancel.get(), message, sizeof message);
        const std::lock_guard lock(request->mutex);
        request->done = true;
        request->changed.notify_one();
    });
    std::unique_lock lock(request->mutex);
    const bool done = request->changed.wait_for(lock, 500ms, [&] { return request->done; });
    lock.unlock();
    if (done) {
        thread.join();
    } else {
        thread.detach();
    }
}

}  // namespace

void Link::connect(const OpenOptions& options, std::string_view database) {
    reply_timeout_ = options.reply_timeout > 0ns ? options.reply_timeout : seam::Duration::max();
    plans_unpinned_ = false;
    if (options.source) return borrow(options);
    try {
        attempt(options, database, true);
    } catch (const DatabaseError& error) {
        // Poolers refuse start-up options (08P01), old servers settings that they do not know (42704).
        const bool refused_options =
            error.sqlstate() == "08P01" || error.sqlstate() == "42704" || error.sqlstate() == "0A000";
        if ((!options.pinned_plans && options.idle_transaction_timeout <= 0ns) || !refused_options) throw;
        attempt(options, database, false);
        plans_unpinned_ = options.pinned_plans;
    }
}

void Link::attempt(const OpenOptions& options, std::string_view database, bool with_settings) {
    close();
    auto parameters = parameters_of(options.url.conninfo);
    const seam::Duration timeout = connect_timeout_of(parameters);
    if (!database.empty()) parameters["dbname"] = database;
    parameters.try_emplace("keepalives", "1");
    parameters.try_emplace("keepalives_idle", "5");
    parameters.try_emplace("keepalives_interval", "3");
    parameters.try_emplace("keepalives_count", "3");
    parameters.try_emplace("tcp_user_timeout", "10000");
    parameters.try_emplace("application_name", options.application_name);
    parameters["client_encoding"] = "UTF8";
    const auto set = [&parameters](const std::string& settings) {
        std::string& own = parameters["options"];
        own = own.empty() ? settings : own + ' ' + settings;
    };
    const bool has_own = parameters.contains("options");
    if (with_settings && options.pinned_plans) set(plan_options());
    if (with_settings && options.idle_transaction_timeout > 0ns && !has_own) {
        set("-c idle_in_transaction_session_timeout=" +
            std::to_string(std::min<std::int64_t>(
                std::chrono::ceil<std::chrono::milliseconds>(options.idle_transaction_timeout).count(),
                std::numeric_limits<std::int32_t>::max())));
    }
    std::vector<const char*> keys;
    std::vector<const char*> values;
    for (const auto& [key, value] : parameters) {
        keys.push_back(key.c_str());
        values.push_back(value.c_str());
    }
    keys.push_back(nullptr);
    values.push_back(nullptr);
    connection_ = PQconnectStartParams(keys.data(), values.data(), 0);
    if (connection_ == nullptr) throw std::bad_alloc();
    PQsetNoticeReceiver(connection_, [](void*, const PGresult*) {}, nullptr);
    PQsetErrorVerbosity(connection_, PQERRORS_VERBOSE);  // the only way to learn the SQLSTATE of a refusal
    poll_connect(options, timeout);
    PQsetErrorVerbosity(connection_, PQERRORS_DEFAULT);
    PQsetnonblocking(connection_, 1);
}

void Link::poll_connect(const OpenOptions& options, seam::Duration timeout) {
    const seam::SteadyTime end =
        seam::steady_now() + std::min<seam::Duration>(timeout, std::chrono::hours(24 * 365));
    if (PQstatus(connection_) == CONNECTION_BAD) refuse(options);
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    while (status != PGRES_POLLING_OK) {
        if (status == PGRES_POLLING_FAILED) refuse(options);
        const seam::Duration left = end - seam::steady_now();
        seam::Waker::Why why = seam::Waker::Why::timeout;
        if (left > 0ns) why = waker_.wait(PQsocket(connection_), status == PGRES_POLLING_WRITING, left);
        if (why == seam::Waker::Why::woken && !interrupted_.load()) continue;
        if (why != seam::Waker::Why::ready || interrupted_.load()) {
            close();
            throw DatabaseError(DatabaseErrorKind::connection,
                                interrupted_.load()
                                    ? "connecting to " + options.url.printable + " was interrupted"
                                    : "no connection to " + options.url.printable + " within " +
                                          std::to_string(timeout / 1s) +
                                          " s (option connect_timeout); is the server reachable?");
        }
        status = PQconnectPoll(connection_);
    }
}

void Link::refuse(const OpenOptions& options) {
    Refusal refusal = parse_refusal(PQerrorMessage(connection_));
    close();
    const DatabaseErrorKind kind =
        refusal.sqlstate.empty() ? DatabaseErrorKind::connection : kind_of(refusal.sqlstate);
    throw DatabaseError(kind, "cannot connect to " + options.url.printable + ": " + refusal.message,
                        refusal.sqlstate);
}

void Link::borrow(const OpenOptions& options) {
    close();
    connection_ = acquire(options.source->acquire_postgres);
    source_ = options.source;
    const char* encoding = PQparameterStatus(connection_, "client_encoding");
    std::string wrong;
    if (PQstatus(connection_) != CONNECTION_OK) {
        wrong = "a broken connection";
    } else if (PQpipelineStatus(connection_) != PQ_PIPELINE_OFF) {
        wrong = "one in pipeline mode";
    } else if (PQtransactionStatus(connection_) != PQTRANS_IDLE) {
        wrong = "one with a transaction or a command in progress";
    } else if (encoding == nullptr || std::string_view(encoding) != "UTF8") {
        wrong = std::string("client_encoding ") + (encoding ? encoding : "unknown");
    }
    if (!wrong.empty()) {
        const bool broken = PQstatus(connection_) != CONNECTION_OK;
        close();
        const std::string text =
            "system_database_engine: expected an open and idle connection with client_encoding UTF8, got " +
            wrong;
        if (broken) throw DatabaseError(DatabaseErrorKind::connection, text);
        throw UsageError(text);
    }
    plans_unpinned_ =
        options.pinned_plans;  // its settings are the caller's: those of a transaction end with it
    PQsetnonblocking(connection_, 1);
}

void Link::give_back() noexcept {
    const auto source = std::exchange(source_, nullptr);
    PGconn* const connection = std::exchange(connection_, nullptr);
    if (connection == nullptr) return;
    bool good = PQstatus(connection) == CONNECTION_OK;
    if (good && PQpipelineStatus(connection) != PQ_PIPELINE_OFF) good = PQexitPipelineMode(connection) == 1;
    good = good && PQtransactionStatus(connection) == PQTRANS_IDLE && PQsetnonblocking(connection, 0) == 0;
    source->release_postgres(connection, good);
}

void Link::close() noexcept {
    if (source_) return give_back();
    if (connection_ != nullptr) PQfinish(connection_);
    connection_ = nullptr;
}

bool Link::alive() noexcept {
    if (!open() || interrupted_.load()) return false;
    try {
        // A farewell takes one read, the end of the stream behind it another one.
        for (int reads = 0; reads < 3; ++reads) {
            if (waker_.wait(PQsocket(connection_), false, 0ns) != seam::Waker::Why::ready) return open();
            if (PQconsumeInput(connection_) == 0 || PQstatus(connection_) != CONNECTION_OK) return false;
            PQisBusy(connection_);
        }
        return open();
    } catch (...) {
        return false;
    }
}

/// A statement that nobody waits for any more should not keep its locks and snapshot. Only a server on this machine is asked:
/// elsewhere it would take too long.
void Link::cancel_local() noexcept {
    if (connection_ == nullptr || PQtransactionStatus(connection_) != PQTRANS_ACTIVE) return;
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    if (::getpeername(PQsocket(connection_), reinterpret_cast<sockaddr*>(&peer), &size) != 0) return;
    const bool loopback = (peer.ss_family == AF_INET &&
                           ntohl(reinterpret_cast<sockaddr_in&>(peer).sin_addr.s_addr) >> 24 == 127) ||
                          (peer.ss_family == AF_INET6 &&
                           IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<sockaddr_in6&>(peer).sin6_addr));
    if (peer.ss_family != AF_UNIX && !loopback) return;
    try {
        cancel_briefly(connection_);
    } catch (const std::exception&) {  // no thread to be had: the server finds out by itself
    }
}

bool Link::wait_socket(bool for_write, seam::Duration timeout) {
    const seam::Waker::Why why = waker_.wait(PQsocket(connection_), for_write, timeout);
    if (interrupted_.load()) {
        cancel_local();
        throw LinkLost{"the call was interrupted"};
    }
    return why != seam::Waker::Why::timeout;
}

bool Link::wait_input(seam::Duration timeout) {
    if (connection_ == nullptr) throw LinkLost{"the connection is closed"};
    const int unsent = PQflush(connection_);
    if (unsent < 0) lost();
    if (!wait_socket(unsent == 1, timeout)) return false;
    if (PQconsumeInput(connection_) == 0) lost();
    return true;
}

ResultPtr Link::next() {
    if (connection_ == nullptr) throw LinkLost{"the connection is closed"};
    while (PQisBusy(connection_) != 0) {
        if (!wait_input(reply_timeout_)) {
            cancel_local();
            throw LinkLost{"no reply within " + std::to_string(reply_timeout_ / 1ms) + " ms"};
        }
    }
    return ResultPtr(PQgetResult(connection_));
}

ResultPtr Link::simple(const char* text) {
    if (PQsendQuery(connection_, text) == 0) lost();
    ResultPtr kept;
    while (ResultPtr result = next()) {
        if (!kept || PQresultStatus(kept.get()) != PGRES_FATAL_ERROR) kept = std::move(result);
    }
    if (!kept) lost();
    return kept;
}

void Link::lost() const {
    throw LinkLost{connection_ == nullptr ? "the connection is closed"
                                          : trimmed(PQerrorMessage(connection_))};
}

void Link::interrupt() noexcept {
    interrupted_.store(true);
    waker_.wake();
}

DatabaseErrorKind kind_of(std::string_view sqlstate) {
    using enum DatabaseErrorKind;
    struct Rule {
        std::string_view prefix;
        DatabaseErrorKind kind;
    };
    // The first match counts: exact states stand before their classes.
    static constexpr Rule kRules[] = {
        {"57014", timeout},
        {"40001", serialization},
        {"40P01", serialization},
        {"40003", serialization},
        {"55P03", busy},
        {"23505", unique_violation},
        {"23503", foreign_key},
        {"42P01", undefined_object},
        {"42703", undefined_object},
        {"42883", undefined_object},
        {"3F000", undefined_object},
        {"3D000", undefined_object},
        {"42501", permission},
        {"28", permission},
        {"25006", read_only},
        {"25P03", connection},
        {"08", connection},
        {"53", connection},
        {"57", connection},
    };
    for (const auto& rule : kRules) {
        if (sqlstate.starts_with(rule.prefix)) return rule.kind;
    }
    return other;
}

bool is_fatal(const PGresult* result) {
    const char* severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    return severity != nullptr &&
           (std::string_view(severity) == "FATAL" || std::string_view(severity) == "PANIC");
}

DatabaseError error_of(const PGresult* result, std::string_view what, bool outcome_unknown) {
    const auto field = [result](int code) {
        const char* text = PQresultErrorField(result, code);
        return std::string(text != nullptr ? text : "");
    };
    const std::string sqlstate = field(PG_DIAG_SQLSTATE);
    std::string message = field(PG_DIAG_MESSAGE_PRIMARY);
    if (message.empty()) message = trimmed(PQresultErrorMessage(result));
    std::string text = "statement \"" + std::string(what) + "\" failed: " + message;
    if (!sqlstate.empty()) text += " (" + sqlstate + ")";
    for (const std::string& more : {field(PG_DIAG_MESSAGE_DETAIL), field(PG_DIAG_MESSAGE_HINT)}) {
        if (!more.empty()) text += "; " + more;
    }
    DatabaseErrorKind kind = kind_of(sqlstate);
    if (kind == DatabaseErrorKind::other && (sqlstate.empty() || is_fatal(result)))
        kind = DatabaseErrorKind::connection;
    const bool lost = sqlstate.empty() || is_fatal(result) || sqlstate == "40003";
    return {kind, text, sqlstate, field(PG_DIAG_CONSTRAINT_NAME), outcome_unknown && lost};
}

}  // namespace dbos::sql::postgres
