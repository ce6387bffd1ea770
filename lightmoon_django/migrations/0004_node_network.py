"""A process has one name on links, however many incarnations."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("lightmoon", "0003_node_endpoint"),
    ]

    operations = [
        migrations.AddField(
            model_name="node",
            name="network",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
    ]
