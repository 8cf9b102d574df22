//! Serials: the 8-byte numbers that stand for ids inside the database.

store::key_newtype! {
    /// A user, local or remote.
    UserSerial
    /// A device of a local user. A device that is deleted and made again under the
    /// same id has another serial.
    DeviceSerial
    /// A room.
    RoomSerial
    /// An event. Immutable under its serial.
    EventSerial
    /// A pusher. One that is deleted and made again has another serial.
    PusherSerial
}

macro_rules! serial_serde {
    ($($name:ident),+) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                u64::deserialize(deserializer).map($name)
            }
        }
    )+};
}
serial_serde!(
    UserSerial,
    DeviceSerial,
    RoomSerial,
    EventSerial,
    PusherSerial
);
