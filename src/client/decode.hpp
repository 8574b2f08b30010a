// From stored text to values: results and errors strictly, listings safely.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dbos/failure.hpp"
#include "dbos/log.hpp"
#include "dbos/serializer.hpp"
#include "dbos/types.hpp"
#include "sysdb/listing.hpp"

namespace dbos::client {

/// `["a", "b"]` of a row and back; NULL, `null` and what is no list of texts = none. Throws DecodeError for what is no JSON.
std::vector<std::string> roles_of(const sysdb::Text& text);
std::string roles_text(const std::vector<std::string>& roles);

/// The formats of a client or application: its own (which also reads rows without a format), and the built-in ones.
class Formats {
   public:
    Formats(std::shared_ptr<const Serializer> own, LogSink log);

    const Serializer& own() const noexcept { return *own_; }
    const std::shared_ptr<const Serializer>& own_pointer() const noexcept { return own_; }
    /// nullptr: a format that this program does not know.
    const Serializer* find(const sysdb::Text& name) const noexcept;

    /// The result of a workflow that has ended, or throws what it ended with. `errors` = those of its contract.
    Value result(const sysdb::ResultRow& row, std::span<const ErrorType> errors) const;
    /// A stored value. Throws DecodeError, whose `where` names it ("event \"x\" of …").
    Value value(const std::string& text, const sysdb::Text& format, const std::string& where) const;
    /// Never fails on payloads: what cannot be decoded is shown as its text, with one warning a call.
    WorkflowStatus status(sysdb::ListedWorkflow row) const;
    std::vector<WorkflowStatus> statuses(std::vector<sysdb::ListedWorkflow> rows) const;
    std::vector<StepInfo> steps(const std::string& workflow_id, std::vector<sysdb::StepRecord> records) const;

   private:
    struct Trouble;
    WorkflowStatus status(sysdb::ListedWorkflow row, Trouble& trouble) const;
    Value safe_value(const std::string& text, const sysdb::Text& format, Trouble& trouble) const;
    void report(const Trouble& trouble) const;

    std::shared_ptr<const Serializer> own_;
    LogSink log_;
};

}  // namespace dbos::client
