#include "dbos/types.hpp"
#include "dbos/workflow.hpp"
#include "value/time_text.hpp"

namespace dbos {

Name Name::dynamic(std::string text) {
    const auto refuse = [&](const char* expected) {
        throw UsageError("dbos::Name::dynamic: expected " + std::string(expected) + ", got \"" + text + '"');
    };
    if (text.empty() || text.size() > 255) refuse("1 to 255 bytes");
    for (const char c : text) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) refuse("text without control characters");
    }
    if (text.starts_with("DBOS.")) refuse("a name that does not start with \"DBOS.\", which is reserved");
    Name name;
    name.adopt(std::move(text));
    return name;
}

namespace detail {

namespace {
std::string subject(std::string_view workflow) {
    return "arguments of workflow \"" + std::string(workflow) + '"';
}
}  // namespace

std::vector<const Value*> bind_arguments(std::string_view workflow, std::span<const std::string_view> params,
                                         std::size_t arity, const Arguments& arguments) {
    std::vector<const Value*> bound(arity, nullptr);
    if (arguments.positional.size() > arity) {
        throw DecodeError(subject(workflow), "at most " + std::to_string(arity) + " positional arguments",
                          std::to_string(arguments.positional.size()));
    }
    for (std::size_t i = 0; i < arguments.positional.size(); ++i) bound[i] = &arguments.positional[i];
    if (!arguments.named.empty() && params.empty() && arity > 0) {
        throw DecodeError(
            subject(workflow),
            "positional arguments only, because its contract has no parameter names (add dbos::params(...))",
            "the named argument \"" + arguments.named.front().first + '"');
    }
    for (const auto& [name, value] : arguments.named) {
        std::size_t index = 0;
        while (index < params.size() && params[index] != name) ++index;
        if (index == params.size()) {
            throw DecodeError(subject(workflow), "the parameter names of its contract", '"' + name + '"');
        }
        if (bound[index] != nullptr) {
            throw DecodeError(subject(workflow), "each parameter once", '"' + name + "\" twice");
        }
        bound[index] = &value;
    }
    return bound;
}

void fail_missing_argument(std::string_view workflow, std::span<const std::string_view> params,
                           std::size_t index) {
    std::string which = "an argument at position " + std::to_string(index + 1);
    if (index < params.size()) which += " or by the name \"" + std::string(params[index]) + '"';
    throw DecodeError(subject(workflow), std::move(which), "none");
}

}  // namespace detail

// ---------------------------------------------------------------------------------------------------- types.hpp

const char* to_string(Status status) noexcept {
    switch (status) {
        case Status::pending: return "PENDING";
        case Status::success: return "SUCCESS";
        case Status::error: return "ERROR";
        case Status::max_recovery_attempts_exceeded: return "MAX_RECOVERY_ATTEMPTS_EXCEEDED";
        case Status::cancelled: return "CANCELLED";
        case Status::enqueued: return "ENQUEUED";
        case Status::delayed: return "DELAYED";
    }
    return "";
}

bool is_terminal(std::string_view status) noexcept {
    return status != "PENDING" && status != "ENQUEUED" && status != "DELAYED";
}

Instant::Instant(std::chrono::system_clock::time_point time) noexcept
    : epoch_ms_(std::chrono::floor<std::chrono::milliseconds>(time).time_since_epoch().count()) {}

Instant::Instant(std::string_view text) {
    // A date alone is midnight, as Python's parser has it.
    const std::string full = text.size() == 10 ? std::string(text) + "T00:00:00" : std::string(text);
    const std::optional<Timestamp> parsed = parse_rfc3339(full, true);
    if (!parsed) {
        throw UsageError("an instant: expected RFC 3339 text such as 2026-01-31T08:00:00Z, got \"" +
                         std::string(text) + '"');
    }
    epoch_ms_ = parsed->epoch_ms();
}

OneOrMany::OneOrMany(std::string one) : values_(std::in_place) { values_->push_back(std::move(one)); }

OneOrMany::OneOrMany(std::vector<std::string> many) : values_(std::move(many)) {}

OneOrMany::OneOrMany(std::optional<std::string> one) {
    if (one) values_.emplace().push_back(std::move(*one));
}

OneOrMany::OneOrMany(const std::vector<Status>& many) : values_(std::in_place) {
    for (const Status status : many) values_->emplace_back(to_string(status));
}

OneOrMany::OneOrMany(std::initializer_list<std::string_view> many)
    : values_(std::in_place, many.begin(), many.end()) {}

OneOrMany::OneOrMany(std::initializer_list<Status> many) : values_(std::in_place) {
    for (const Status status : many) values_->emplace_back(to_string(status));
}

}  // namespace dbos
