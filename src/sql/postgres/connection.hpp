// The PostgreSQL driver: everything goes through one pipeline of prepared statements.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sql/connection.hpp"
#include "sql/postgres/link.hpp"
#include "sql/postgres/params.hpp"
#include "sql/statement_cache.hpp"

namespace dbos::sql::postgres {

class PostgresConnection final : public Connection {
   public:
    explicit PostgresConnection(const OpenOptions& options);
    ~PostgresConnection() override;
    /// Must come first.
    void connect(const OpenOptions& options);

    Backend backend() const noexcept override { return Backend::postgres; }
    Result execute(const Statement& statement, const Params& params) override;
    Result query(const std::string& text, const Params& params, Access access) override;
    void script(const std::string& text) override;
    using Connection::pipeline;
    std::vector<Result> pipeline(std::span<const Call> calls, const Meanwhile& meanwhile) override;
    void begin(Isolation isolation) override;
    void commit() override;
    void rollback() noexcept override;
    bool in_transaction() const noexcept override;
    bool usable() const noexcept override;
    void interrupt() noexcept override { link_.interrupt(); }
    Lent lend(bool read_only) override;
    Returned take_back() noexcept override;

   private:
    static constexpr std::size_t kSqlstate = 5;
    Returned::State look_back() noexcept;
    enum class Ready : std::uint8_t { no, sent, yes };
    /// A statement as it was prepared for one row of parameter types. The name is made of the text and these types, so that
    /// behind a pooler a statement of the same name is the same statement, whoever prepared it.
    struct Variant {
        std::vector<Oid> types;
        std::string name;
        Ready ready = Ready::no;
    };
    struct Entry {
        std::string label;  // for messages and names
        std::string text;   // expanded
        std::vector<std::unique_ptr<Variant>> variants;
    };
    struct Execution {
        Entry* entry;
        const Params* params;
        bool behind = false;  // Call::behind
    };
    /// What was sent and must be answered, in order.
    struct Item {
        enum class Kind : std::uint8_t { auxiliary, prepare, execute, sync } kind;
        const char* label = "";
        Variant* variant = nullptr;
        bool untold = false;  // its failure is nobody's
    };
    struct Failure {
        ResultPtr result;
        const char* label = "";
        Variant* variant = nullptr;
        bool repeat = false;  // the fault of our prepared statement: the same call may succeed
    };

    Entry& entry_of(const Statement& statement);
    Entry& entry_of(const std::string& text);
    Variant& variant_of(Entry& entry);
    void run(std::span<const Execution> executions, std::span<Result> results, bool writes,
             const Meanwhile& meanwhile = {});
    /// One round trip. The failure, if the server refused something.
    std::optional<Failure> round_trip(std::span<const Execution> executions, std::span<Result> results,
                                      const Meanwhile& meanwhile = {});
    void send_auxiliary(const char* text, const char* label, bool untold = false);
    void send_execution(const Execution& execution);
    void send_sync();
    std::optional<Failure> receive(std::span<Result> results);
    /// Recognises failures of prepared statements themselves (behind a pooler, or stale) and mends what caused them.
    void mend(Failure& failure);
    [[noreturn]] void raise(const Failure& failure, bool outcome_unknown);
    [[noreturn]] void raise_lost(const LinkLost& lost, std::string_view what, bool outcome_unknown);
    void check_owner() const;
    void drop() noexcept;

    const int pid_ = seam::process_id();
    std::string schema_;
    std::string printable_;
    mutable Link link_;
    std::unordered_map<const Statement*, std::unique_ptr<Entry>> by_statement_;
    TextCache<Entry> by_text_;
    std::vector<std::string> deallocate_;  // names of statements pushed out of the cache
    std::vector<Item> items_;
    std::string last_tag_;  // command tag of the last auxiliary statement
    EncodedParams encoded_;
    const char* pending_begin_ = nullptr;  // sent ahead of the first statement
    bool lent_ = false;
    std::int64_t transactions_lent_ = 0;   // the number of the last one is its mark
    char lent_error_[kSqlstate + 1] = {};  // SQLSTATE of the last error of the program's statements
    std::string local_settings_;           // of pinned_plans, behind a pooler: set in each transaction
    bool unnamed_ = false;
};

}  // namespace dbos::sql::postgres
