// Package config turns a file and the environment into one validated, immutable value.
//
// The flow of a load:
//
//	file ──viper──> values ─┐
//	file ──parser─> lines  ─┼─> checked against the schema ─> layers ──viper──> Config ─> rules
//	environment ────────────┘
//
// The schema is read by reflection from the struct tags of Config and what is in it, so that what is
// accepted, what it defaults to, what the example file says and what Redacted prints cannot
// drift apart. Every mistake of the file and of the environment is collected with its line or
// its variable and they are reported together, as *Errors. A load uses a viper of its own, and
// no viper type leaves the package.
//
// LoadWithOrigins says where each value comes from as well. Diff says in what two configurations
// differ, as a reload has to know and to tell.
//
// # Layers
//
// Later ones win:
//
//  1. the defaults that are built in,
//  2. CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN, CONSUL_HTTP_TOKEN_FILE (for the keys of [consul]) and
//     STATE_DIRECTORY (for runtime.state_dir), unless they are empty,
//  3. the file,
//  4. the environment, as SIDECAR_ and the key's path in capitals: SIDECAR_CONSUL_ADDRESS.
//
// A service has two more, between 1 and 3: [defaults] of the file, and the environment's
// SIDECAR_DEFAULTS_RETRY_ATTEMPTS, which sets that key of [defaults]. So a value that stands in
// the service itself is changed by SIDECAR_SERVICE_ORDERS_RETRY_ATTEMPTS only.
//
// Some keys have a meaning only where another one has a certain value, such as hash_key with the
// policy ring_hash. Set for a service where they have none they are a mistake. From [defaults]
// they are dropped there: they are meant for other services.
//
// # Sources
//
// discovery.source and discovery.sources say the same thing, one word or several. The one that was
// set in the later layer counts, and of two in the same layer sources does, which has to begin with
// source then. Once loaded, both say what holds.
//
// # Services in the environment
//
// A service is found by its name in capitals with everything but letters and digits turned into
// underscores: SIDECAR_SERVICE_ORDER_API_LISTEN reaches "order-api" as well as "order.api". When
// no service of the file has that name, one is made: its name is what stands in the variable, in
// lower case and with "-" for each underscore, or exactly what SIDECAR_SERVICE_…_NAME says. It
// needs a …_LISTEN, as every service does. Announcements are found and made in the same way, by
// SIDECAR_REGISTER_ORDERS_PORT.
//
// Where a variable can be read in two ways, such as SIDECAR_REGISTER_ORDERS_CHECK_ADDRESS as
// check.address of "orders" and as address of "orders-check", the one that is in the file is meant,
// or else the longer key. When both are in the file, it is a mistake.
//
// Lists are separated by commas. A variable of ours that is set and empty is a value: the empty
// text or the empty list (SIDECAR_ADMIN_LISTEN= turns the admin interface off), and a mistake
// where a number is wanted. A variable that begins with SIDECAR_ and names no key is a mistake.
package config
