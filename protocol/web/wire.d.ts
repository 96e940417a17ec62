// Generated from the structs of the package `protocol` by `make types`. Do not edit.

/** A newer server may send a value that is not in the list: have an answer to it. */
export type Open<Known extends string> = Known | (string & {});

/** Events from seq to seq that are lost to this socket. */
export interface Gap {
  from: number;
  to: number;
}

/** Why a command was refused. */
export type Refusal =
  | "bad_command"
  | "not_allowed"
  | "rate_limited"
  | "bad_token"
  | "room_not_live"
  | "unavailable"
  | "muted"
  | "slow_mode"
  | "blocked_words"
  | "followers_only"
  | "chat_off"
  | "duplicate_text"
  | "insufficient_coins"
  | "unknown_gift"
  | "gifts_off"
  | "conflict"
  | "expired_id"
  | "self_gift"
  | "receiver_not_eligible"
  | "spend_limit"
  | "wallet_frozen"
  | "wallet_unavailable"
  | "unknown_user"
  | "unknown_event"
  | "too_many_pins"
  | "club_only"
  | "too_young"
  | "links_off"
  | "emotes_only"
  | "wrong_status"
  | "not_eligible"
  | "region_not_allowed"
  | "adults_only"
  | "level_too_low"
  | "message_needs_coins"
  | "likes_off"
  | "revoked"
  | "banned"
  | "unknown_goal"
  | "too_many_goals"
  | "other_kind"
  | "already_decided"
  | "already_edited"
  | "warned"
  | "too_many_members"
  | "media_not_allowed"
  | "unknown_overlay"
  | "too_many_overlays"
  | "shielded"
  | "no_such_gift"
  | "suspended";

/** Staff: control the alerts of all overlays of the room. */
export interface ControlAlerts {
  type: "alerts.control";
  verb: "clear" | "mute" | "next" | "pause" | "replay" | "reset" | "resume" | "skip" | "test" | "unmute";
  id?: string | null;
  ref?: string | null;
}

/** An overlay: how far the alert of this gift is. */
export interface AckAlert {
  type: "alerts.ack";
  id: string;
  stage: "failed" | "finished" | "received" | "skipped" | "started";
  also?: string[];
  queued?: number;
  ref?: string | null;
}

/** The first places of a window: by all that somebody gave in it, or by their largest gift. */
export interface GetBoard {
  type: "board.get";
  window?: "all" | "broadcast" | "day" | "week";
  by?: "single" | "sum";
  limit?: number;
  ref?: string | null;
}

/** Say something to the room, perhaps in reply to a message of it. */
export interface SendChat {
  type: "chat.send";
  text: string;
  reply_to?: string | null;
  edit_of?: string | null;
  ref?: string | null;
}

/** Staff: take these messages away, or all of one person. */
export interface DeleteChat {
  type: "chat.delete";
  ids?: string[];
  user_id?: string | null;
  reason?: string;
  ref?: string | null;
}

/** Staff: keep a message or a gift in sight, for `seconds` or until it is taken off. */
export interface PinChat {
  type: "chat.pin";
  id: string;
  seconds?: number | null;
  ref?: string | null;
}

/** Staff: take a pin off. */
export interface UnpinChat {
  type: "chat.unpin";
  id: string;
  ref?: string | null;
}

/** Staff: let everybody see a held message. */
export interface ApproveChat {
  type: "chat.approve";
  id: string;
  ref?: string | null;
}

/** Staff: let nobody see a held message. */
export interface DenyChat {
  type: "chat.deny";
  id: string;
  ref?: string | null;
}

/** Tell staff that a message breaks the rules. One person's second report of it changes nothing. */
export interface ReportChat {
  type: "chat.report";
  id: string;
  reason?: string;
  ref?: string | null;
}

/** Send a gift. The same `id` again is the same gift, and is paid once. */
export interface SendGift {
  type: "gifts.send";
  id: string;
  gift: string;
  count: number;
  to?: string | null;
  combo?: string | null;
  message?: string | null;
  anonymous?: boolean;
  ref?: string | null;
}

/** The host: see how a gift looks. It costs nothing, and only staff and overlays get it. */
export interface TestGift {
  type: "gifts.test";
  gift: string;
  count?: number;
  ref?: string | null;
}

/** The host: thank for a gift of this broadcast. A second thanks changes nothing. */
export interface ThankGift {
  type: "gifts.thank";
  gift_id: string;
  ref?: string | null;
}

/** The host: make a goal, or change title and target of one. Without an id it is a new one. */
export interface SetGoal {
  type: "goals.set";
  kind: "coins" | "followers" | "gift" | "likes" | "viewers";
  title: string;
  target: number;
  id?: string | null;
  gift?: string | null;
  ref?: string | null;
}

/** The host: remove a goal. */
export interface RemoveGoal {
  type: "goals.remove";
  id: string;
  ref?: string | null;
}

/** Some taps on the heart. */
export interface SendLikes {
  type: "likes.send";
  count: number;
  ref?: string | null;
}

/** Let somebody read, but not chat. Without `seconds` until the broadcast ends. */
export interface MuteMember {
  type: "members.mute";
  user_id: string;
  seconds?: number | null;
  reason?: string;
  ref?: string | null;
}

/** Let somebody chat again. */
export interface UnmuteMember {
  type: "members.unmute";
  user_id: string;
  ref?: string | null;
}

/** Put somebody out of the room, and let nobody of this id in again. Without `seconds` forever. */
export interface BanMember {
  type: "members.ban";
  user_id: string;
  seconds?: number | null;
  reason?: string;
  ref?: string | null;
}

/** Let somebody in again. */
export interface UnbanMember {
  type: "members.unban";
  user_id: string;
  ref?: string | null;
}

/** Close somebody's sockets. They may come back. */
export interface KickMember {
  type: "members.kick";
  user_id: string;
  reason?: string;
  ref?: string | null;
}

/** Show somebody's chat to nobody but themselves and staff. They are not told. */
export interface HideMember {
  type: "members.hide";
  user_id: string;
  reason?: string;
  ref?: string | null;
}

/** Show somebody's chat to everybody again. */
export interface UnhideMember {
  type: "members.unhide";
  user_id: string;
  ref?: string | null;
}

/** Tell somebody something that they must acknowledge before they may chat again. */
export interface WarnMember {
  type: "members.warn";
  user_id: string;
  text: string;
  ref?: string | null;
}

/** Make somebody a moderator of this room. */
export interface PromoteMember {
  type: "members.promote";
  user_id: string;
  ref?: string | null;
}

/** Let somebody be a moderator of this room no longer. */
export interface DemoteMember {
  type: "members.demote";
  user_id: string;
  ref?: string | null;
}

/** I have read the warning. */
export interface AcknowledgeWarning {
  type: "members.acknowledge";
  ref?: string | null;
}

/** Everybody about whom staff has decided something, by user id. */
export interface ListMembers {
  type: "members.list";
  after?: string | null;
  limit?: number;
  ref?: string | null;
}

/** The host: what the overlays show from now on. */
export interface SetOverlay {
  type: "overlay.set";
  settings: OverlaySettings;
  ref?: string | null;
}

/** What the overlays of a room show. `min_coins` is for alerts, `big_coins` for the ticker. */
export interface OverlaySettings {
  widgets: Widget[];
  theme: Open<"clear" | "dark" | "light">;
  font: Open<"hand" | "mono" | "rounded" | "sans" | "serif">;
  veil: number;
  min_coins: number;
  big_coins: number;
  duration_ms: number | null;
  sound: string;
  volume: number;
  message: boolean;
  delay_ms: number;
  age_s: number;
  merge_s: number;
  priority: Open<"order" | "size">;
  variants: Variant[];
}

/** A widget, and where it stands. */
export interface Widget {
  kind: Open<"alerts" | "board" | "chat" | "combo" | "goal" | "poll" | "ticker" | "viewers">;
  place: Open<"bottom" | "bottom-left" | "bottom-right" | "center" | "left" | "right" | "top" | "top-left" | "top-right">;
  scale: number;
}

/** How alerts of some gifts differ: of this gift, of this tier, from so many coins on. The first that fits counts. */
export interface Variant {
  gift?: string;
  tier?: number;
  min_coins?: number;
  show?: boolean;
  duration_ms?: number;
  animation?: Open<"burst" | "float" | "fullscreen" | "ride">;
  media?: string;
  sound?: string;
  volume?: number;
  message?: boolean;
}

/** Ask for a reply, and the server's clock. */
export interface Ping {
  type: "ping";
  ref?: string | null;
}

/** Staff: change the title or settings. What is absent stays as it is. */
export interface SetRoom {
  type: "room.set";
  title?: string;
  settings?: SettingsChange;
  ref?: string | null;
}

/** Settings to change. Absent ones stay as they are. */
export interface SettingsChange {
  chat?: boolean;
  gifts?: boolean;
  slow_mode_s?: number;
  unique_chat_s?: number;
  chat_per_s?: number;
  chat_for?: Open<"club" | "everyone" | "followers" | "staff">;
  followers_min_age_s?: number;
  links?: boolean;
  emotes_only?: boolean;
  gift_min_coins_message?: number;
  likes?: boolean;
  blocked_words?: string[];
  automod?: number;
  reports_hold?: number;
  shield?: boolean;
}

/** The host: begin a broadcast. */
export interface StartRoom {
  type: "room.start";
  ref?: string | null;
}

/** The host: pause the broadcast. Chat stays open, gifts wait. */
export interface PauseRoom {
  type: "room.pause";
  ref?: string | null;
}

/** The host: go on after a pause. */
export interface ResumeRoom {
  type: "room.resume";
  ref?: string | null;
}

/** The host: end the broadcast. */
export interface EndRoom {
  type: "room.end";
  ref?: string | null;
}

/** A newer token of the same person, so that the socket can stay when the old one expires. */
export interface RefreshSession {
  type: "session.refresh";
  token: string;
  ref?: string | null;
}

/** A command was carried out. Features add fields in subclasses. */
export interface Ok {
  type: "ok";
  ref: string | null;
}

/** The first places, and yours. */
export interface GetBoardOk {
  type: "ok";
  ref: string | null;
  top: Rank[];
  you: Place;
}

/** One row of the room's board. */
export interface Rank {
  rank: number;
  user: Named;
  coins: number;
}

/** A person on a board, or a host: an id and a display name. */
export interface Named {
  user_id: string;
  name: string;
}

/** Your own place. `behind` is how many coins the next place has more; null if there is none. */
export interface Place {
  rank: number | null;
  coins: number;
  behind: number | null;
}

/** The message has this `seq` in the room's history. A `hidden` one was over the room's budget: nobody saw it. */
export interface SendChatOk {
  type: "ok";
  id: string;
  seq: number;
  hidden?: boolean;
  held?: boolean;
  ref: string | null;
}

/** Debited, credited and on disk. `coins` is the balance after it, `entry` its place in the ledger. */
export interface SendGiftOk {
  type: "ok";
  id: string;
  duplicate: boolean;
  coins: number;
  combo: Combo | null;
  entry: string;
  message_left_out: string | null;
  ref: string | null;
}

/** A streak: `count` is the running total of its gifts. */
export interface Combo {
  id: string;
  count: number;
}

/** The goal is on disk. */
export interface SetGoalOk {
  type: "ok";
  ref: string | null;
  id: string;
}

/** A page of them. `next` is the `after` of the next page. */
export interface ListMembersOk {
  type: "ok";
  ref: string | null;
  members: Decided[];
  next: string | null;
}

/** What staff has decided about somebody, as it stands now. `muted` and `banned` without an end have a null time. */
export interface Decided {
  user_id: string;
  moderator: boolean;
  muted: boolean;
  muted_until_ms: number | null;
  banned: boolean;
  banned_until_ms: number | null;
  hidden: boolean;
  warned: boolean;
}

/** The server's clock. */
export interface PingOk {
  type: "ok";
  server_time_ms: number;
  ref: string | null;
}

/** The new token was accepted. It expires at `expires_ms`. */
export interface RefreshSessionOk {
  type: "ok";
  expires_ms: number;
  ref: string | null;
}

/** The first places, by coins given in this broadcast. */
export interface BoardChanged {
  type: "board.changed";
  top: Rank[];
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
}

/** Somebody has come among the first three of this broadcast. */
export interface BoardClimbed {
  type: "board.climbed";
  user: Named;
  rank: number;
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
}

/** Somebody said something. Staff and the sender see what is `hidden` from everybody else; it has no `seq`. */
export interface ChatSent {
  type: "chat.sent";
  user: User;
  text: string;
  hidden?: boolean;
  reply_to?: ReplyTo;
  fragments?: Fragment[];
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
}

/** A person, as others see them. */
export interface User {
  user_id: string;
  name: string;
  role: Open<"bot" | "host" | "moderator" | "overlay" | "viewer"> | null;
  badges: string[];
}

/** The message that another one replies to, as it was. */
export interface ReplyTo {
  id: string;
  user: User;
  text: string;
}

/** A part of a text: plain, a mention of somebody, or an emote. */
export interface Fragment {
  type: Open<"emote" | "mention" | "text">;
  text: string;
  user_id?: string;
  emote?: EmoteShown;
}

/** An emote, as a message has it. */
export interface EmoteShown {
  id: string;
  url: string;
}

/** Show these messages no more, nor any earlier one of these people, also if a replay brings them later. */
export interface ChatDeleted {
  type: "chat.deleted";
  ids: string[];
  user_ids: string[];
  by: Named;
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
}

/** Something is pinned. */
export interface ChatPinned {
  type: "chat.pinned";
  pin: Pin;
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
}

/** A pinned chat or gift, as its event was. `by` is null if it pinned itself, `until_ms` without an end. */
export interface Pin {
  id: string;
  event: ChatSent | GiftSent;
  by: Named | null;
  until_ms: number | null;
}

/** A pin is off: its time is over, staff took it off, or its message was deleted. `pin` is the id of that. */
export interface ChatUnpinned {
  type: "chat.unpinned";
  pin: string;
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
}

/** What this site's own pages and overlays understand. Under load it may be dropped, unless it is `kept`. */
export interface CustomSent {
  type: "custom.sent";
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
  kept?: boolean;
  name: string;
  user_id?: string;
  data: Record<string, unknown>;
  action?: Open<"scene" | "webhook">;
  cause?: Cause;
}

/** The gift whose rule did something, its coins in all, and who gave it, as the room sees them. */
export interface Cause {
  gift_id: string;
  gift: string;
  count: number;
  coins: number;
  from: User;
}

/** A gift was paid: `count`, `coins`, `diamonds` are of this event alone. `id` is the command's gift id. */
export interface GiftSent {
  type: "gifts.sent";
  from: User;
  to: User;
  gift: ShownGift;
  count: number;
  coins: number;
  diamonds: number;
  message: string | null;
  test: boolean;
  combo: Combo | null;
  received_at_ms?: number;
  settled_at_ms?: number;
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
}

/** The catalogue entry, as an event shows it. */
export interface ShownGift {
  id: string;
  name: string;
  coins: number;
  tier: number;
  animation: Animation;
}

/** How a gift is shown. */
export interface Animation {
  kind: Open<"burst" | "float" | "fullscreen" | "ride">;
  url: string;
  duration_ms: number;
}

/** A streak is over. This is only for display: the sums are in the gifts. */
export interface GiftComboEnded {
  type: "gifts.combo_ended";
  combo: Combo;
  from: User;
  to: User;
  gift: GiftRef;
  coins: number;
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
}

/** A gift by its catalogue id. */
export interface GiftRef {
  id: string;
}

/** A gift of this broadcast, or a part of it, was taken back. Totals and boards go down by it. */
export interface GiftRefunded {
  type: "gifts.refunded";
  gift_id: string;
  coins: number;
  diamonds: number;
  reason: Open<"chargeback" | "refund">;
  gift?: GiftRef;
  count?: number;
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
}

/** The host has thanked `user` for a gift. */
export interface GiftThanked {
  type: "gifts.thanked";
  gift_id: string;
  user: User;
  gift: GiftRef;
  count: number;
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
}

/** The room's goals are now these, the oldest first. */
export interface GoalsChanged {
  type: "goals.changed";
  goals: Goal[];
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
}

/** A goal: `current` of `target`. Once `reached` it stays so. `gift` is for goals of that kind. */
export interface Goal {
  id: string;
  kind: Open<"coins" | "followers" | "gift" | "likes" | "viewers">;
  title: string;
  target: number;
  current: number;
  reached: boolean;
  gift?: string;
}

/** A goal has moved, at most once a second. `others` are the room's other goals, as they stand. */
export interface GoalProgressed {
  type: "goals.progressed";
  goal: Goal;
  others?: Goal[];
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
}

/** A goal is reached, once. `id` is the goal's; `contributors` gave most to it, the greatest first. */
export interface GoalReached {
  type: "goals.reached";
  contributors: Named[];
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
}

/** `added` since the last such event, `total` in this broadcast. */
export interface LikesCounted {
  type: "likes.counted";
  added: number;
  total: number;
  top: Liker[];
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
}

/** A person, and how often they liked in this broadcast. */
export interface Liker {
  user: Named;
  count: number;
}

/** Somebody may not chat until `until_ms`; null is the end of the broadcast. */
export interface MemberMuted {
  type: "members.muted";
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
  user_id: string;
  by: Named;
  until_ms: number | null;
  reason: string;
}

/** Somebody may chat again. */
export interface MemberUnmuted {
  type: "members.unmuted";
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
  user_id: string;
  by: Named;
}

/** Somebody was put out of the room until `until_ms`; null is forever. */
export interface MemberBanned {
  type: "members.banned";
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
  user_id: string;
  by: Named;
  until_ms: number | null;
  reason: string;
}

/** Somebody may come in again. */
export interface MemberUnbanned {
  type: "members.unbanned";
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
  user_id: string;
  by: Named;
}

/** Somebody's sockets were closed. */
export interface MemberKicked {
  type: "members.kicked";
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
  user_id: string;
  by: Named;
  reason: string;
}

/** Somebody moderates this room now. */
export interface MemberPromoted {
  type: "members.promoted";
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
  user_id: string;
  by: Named;
}

/** Somebody moderates this room no longer. */
export interface MemberDemoted {
  type: "members.demoted";
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
  user_id: string;
  by: Named;
}

/** The room changed. Absent fields did not. */
export interface RoomUpdated {
  type: "room.updated";
  title?: string;
  host?: Named;
  settings?: ShownSettings;
  status?: Open<"ended" | "live" | "offline" | "paused" | "suspended">;
  broadcast_id?: string;
  started_at_ms?: number;
  category?: string;
  hashtags?: string[];
  language?: string;
  starts_at_ms?: number;
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
}

/** The settings that everybody in the room may see, as they are in force: without the list of blocked words. */
export interface ShownSettings {
  chat: boolean;
  gifts: boolean;
  slow_mode_s: number;
  unique_chat_s: number;
  chat_for: string;
  followers_min_age_s: number;
  links: boolean;
  emotes_only: boolean;
  gift_min_coins_message: number;
  likes: boolean;
  shield: boolean;
}

/** The host paused. */
export interface RoomPaused {
  type: "room.paused";
  status: Open<"ended" | "live" | "offline" | "paused" | "suspended">;
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
}

/** The host resumed. */
export interface RoomResumed {
  type: "room.resumed";
  status: Open<"ended" | "live" | "offline" | "paused" | "suspended">;
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
}

/** The host ended the broadcast. */
export interface RoomEnded {
  type: "room.ended";
  status: Open<"ended" | "live" | "offline" | "paused" | "suspended">;
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
}

/** The next broadcast is to begin at `starts_at_ms`, in `in_ms`. */
export interface RoomReminded {
  type: "room.reminded";
  starts_at_ms: number;
  in_ms: number;
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
}

/** What a broadcast brought, some seconds after its end. */
export interface RoomSummed {
  type: "room.summed";
  broadcast: Broadcast;
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
}

/** A broadcast that has ended. Coins and diamonds are less what was taken back until then. */
export interface Broadcast {
  broadcast_id: string;
  room_id: string;
  host: Named;
  title: string;
  status: Open<"ended" | "suspended">;
  started_at_ms: number;
  ended_at_ms: number;
  duration_ms: number;
  peak: number;
  unique: number;
  new_members: number;
  chats: number;
  likes: number;
  gifts: number;
  coins: number;
  diamonds: number;
  top_fans: Fan[];
}

/** Who gave most in a broadcast. */
export interface Fan {
  user: Named;
  coins: number;
}

/** The platform ended the broadcast. */
export interface RoomSuspended {
  type: "room.suspended";
  status: Open<"ended" | "live" | "offline" | "paused" | "suspended">;
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
}

/** The platform deleted the room. It is the last event. */
export interface RoomDeleted {
  type: "room.deleted";
  status: Open<"ended" | "live" | "offline" | "paused" | "suspended">;
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
}

/** Viewers `now`, and `peak` and `unique` in this broadcast. `joined` is a sample of those who joined. */
export interface ViewersCounted {
  type: "viewers.counted";
  now: number;
  peak: number;
  unique: number;
  joined: Named[];
  id: string;
  seq: number;
  at_ms: number;
  replayed?: boolean;
}

/** To overlays: do this now. `reload` comes from the server alone, to an overlay that no longer answers. */
export interface AlertsControlled {
  type: "alerts.controlled";
  verb: string;
  id: string | null;
  by: Named | null;
}

/** To staff: how the overlays of the room are. */
export interface AlertsStatus {
  type: "alerts.status";
  overlays: number;
  silent_ms: number;
  queued: number;
  playing: string | null;
}

/** To staff: this message waits for a decision. `reason` is what it was held for, `level` how bad that is (1-4). */
export interface ChatHeld {
  type: "chat.held";
  id: string;
  user: User;
  text: string;
  reason: string;
  level: number;
  held_at_ms: number;
  edit_of: string | null;
  reported: string | null;
}

/** To staff and the sender: a held message is `approved`, `denied`, `edited` or `expired`. */
export interface ChatResolved {
  type: "chat.resolved";
  id: string;
  decision: string;
  by: Named | null;
}

/** You are warned: you cannot chat until you acknowledge it. */
export interface MemberWarned {
  type: "members.warned";
  text: string;
  by: Named;
}

/** To staff: `by` did `act` to `user_id`. `act` is the command's type; `data` has what else it said. */
export interface ModerationActed {
  type: "moderation.acted";
  id: string;
  at_ms: number;
  act: string;
  by: Named;
  user_id: string | null;
  reason: string;
  data: Record<string, unknown>;
}

/** To overlays and staff, on joining and after each change: how the room's overlays are set. */
export interface OverlayChanged {
  type: "overlay.changed";
  version: number;
  settings: OverlaySettings;
  paused: boolean;
  muted: boolean;
  cleared_ms: number;
}

/** To staff: so many people have reported this message, and `of_user` so often messages of this person. */
export interface ChatReported {
  type: "chat.reported";
  id: string;
  reports: number;
  user_id: string;
  of_user: number;
  reason: string;
}

/** The command was not carried out. Some reasons add fields to these. */
export interface Refuse {
  type: "refused";
  ref: string | null;
  reason: Open<Refusal>;
  message: string;
  retry_after_ms: number | null;
}

/** The first message. `room` is a `rooms.Snapshot` exactly as of `seq`. */
export interface Welcome {
  type: "welcome";
  protocol: number;
  epoch: string;
  seq: number;
  resumed: boolean;
  gap: Gap | null;
  you: You;
  room: Snapshot;
  heartbeat_s: number;
  server_time_ms: number;
  replays: number;
}

/** The person behind this socket. `coins` is null while the wallet store is away; `wallet.changed` has it later. */
export interface You {
  user_id: string;
  name: string;
  role: Open<"bot" | "host" | "moderator" | "overlay" | "viewer">;
  coins: number | null;
  muted_until_ms: number | null;
  member_id: string;
  muted: boolean;
}

/** A room exactly as of the welcome's `seq`. */
export interface Snapshot {
  room_id: string;
  broadcast_id: string | null;
  title: string;
  status: Open<"ended" | "live" | "offline" | "paused" | "suspended">;
  host: Named;
  started_at_ms: number | null;
  settings: ShownSettings;
  viewers: Viewers;
  likes: number;
  coins: number;
  top: Rank[];
  category: string;
  hashtags: string[];
  language: string;
  starts_at_ms: number | null;
  open_combos: OpenCombo[];
  goals: Goal[];
  pins: Pin[];
}

/** People watching: now, the most at once, and how many different ones in this broadcast. */
export interface Viewers {
  now: number;
  peak: number;
  unique: number;
}

/** A streak that still runs. */
export interface OpenCombo {
  id: string;
  count: number;
  from: User;
  to: User;
  gift: GiftRef;
  coins: number;
}

/** Nothing else was sent for a while. */
export interface Heartbeat {
  type: "heartbeat";
}

/** The balance of this socket's user. `entry` is the ledger's `epoch-n`: ignore a balance with an older one. */
export interface WalletChanged {
  type: "wallet.changed";
  coins: number;
  cause: Open<"chargeback" | "gift" | "refund" | "reopened" | "topup">;
  ref: string | null;
  entry: string | null;
}

/** A notice about the delivery itself: chat was hidden, or the node is stopping. */
export interface Notice {
  type: "notice";
  kind: Open<"draining" | "hidden">;
  count?: number;
  reconnect_in_ms?: number;
}

/** An entry of the catalogue: `coins` is what a viewer pays, `diamonds` what the creator is credited. */
export interface Gift {
  id: string;
  name: string;
  coins: number;
  diamonds: number;
  tier: number;
  streakable: boolean;
  animation: Animation;
  pin_s: number;
  regions: string[];
  min_level: number;
  adult: boolean;
}

/** What happened in the room. A newer server sends more types: pass them over. */
export type RoomEvent =
  | BoardChanged
  | BoardClimbed
  | ChatSent
  | ChatDeleted
  | ChatPinned
  | ChatUnpinned
  | CustomSent
  | GiftSent
  | GiftComboEnded
  | GiftRefunded
  | GiftThanked
  | GoalsChanged
  | GoalProgressed
  | GoalReached
  | LikesCounted
  | MemberMuted
  | MemberUnmuted
  | MemberBanned
  | MemberUnbanned
  | MemberKicked
  | MemberPromoted
  | MemberDemoted
  | RoomUpdated
  | RoomPaused
  | RoomResumed
  | RoomEnded
  | RoomReminded
  | RoomSummed
  | RoomSuspended
  | RoomDeleted
  | ViewersCounted;

/** What one socket alone is told. A newer server sends more types: pass them over. */
export type Message =
  | AlertsControlled
  | AlertsStatus
  | ChatHeld
  | ChatResolved
  | MemberWarned
  | ModerationActed
  | OverlayChanged
  | ChatReported
  | Refuse
  | Welcome
  | Heartbeat
  | WalletChanged
  | Notice
  | Ok;

/** What a client may ask for. */
export type Command =
  | ControlAlerts
  | AckAlert
  | GetBoard
  | SendChat
  | DeleteChat
  | PinChat
  | UnpinChat
  | ApproveChat
  | DenyChat
  | ReportChat
  | SendGift
  | TestGift
  | ThankGift
  | SetGoal
  | RemoveGoal
  | SendLikes
  | MuteMember
  | UnmuteMember
  | BanMember
  | UnbanMember
  | KickMember
  | HideMember
  | UnhideMember
  | WarnMember
  | PromoteMember
  | DemoteMember
  | AcknowledgeWarning
  | ListMembers
  | SetOverlay
  | Ping
  | SetRoom
  | StartRoom
  | PauseRoom
  | ResumeRoom
  | EndRoom
  | RefreshSession;

/** The `ok` of each command. */
export interface Replies {
  "alerts.control": Ok;
  "alerts.ack": Ok;
  "board.get": GetBoardOk;
  "chat.send": SendChatOk;
  "chat.delete": Ok;
  "chat.pin": Ok;
  "chat.unpin": Ok;
  "chat.approve": Ok;
  "chat.deny": Ok;
  "chat.report": Ok;
  "gifts.send": SendGiftOk;
  "gifts.test": Ok;
  "gifts.thank": Ok;
  "goals.set": SetGoalOk;
  "goals.remove": Ok;
  "likes.send": Ok;
  "members.mute": Ok;
  "members.unmute": Ok;
  "members.ban": Ok;
  "members.unban": Ok;
  "members.kick": Ok;
  "members.hide": Ok;
  "members.unhide": Ok;
  "members.warn": Ok;
  "members.promote": Ok;
  "members.demote": Ok;
  "members.acknowledge": Ok;
  "members.list": ListMembersOk;
  "overlay.set": Ok;
  "ping": PingOk;
  "room.set": Ok;
  "room.start": Ok;
  "room.pause": Ok;
  "room.resume": Ok;
  "room.end": Ok;
  "session.refresh": RefreshSessionOk;
}
